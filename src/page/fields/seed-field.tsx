import { Dices } from "lucide-preact";
import { useId } from "preact/hooks";
import { useWords } from "../store.js";
import { isDrawn, isSeed } from "./seeds.js";

/** A seed that is drawn each time, or kept; what is none is refused here. */
export function SeedField({
  label,
  diceLabel,
  value,
  onChange,
}: {
  readonly label: string;
  readonly diceLabel: string;
  readonly value: string;
  readonly onChange: (seed: string) => void;
}) {
  const t = useWords();
  const id = useId();
  const isWrong = !isSeed(value);
  const isKept = !isWrong && !isDrawn(value);
  const said = isWrong ? t("seedInvalid") : isKept ? t("seedKept") : "";
  return (
    <div class={`seed ${isKept ? "kept" : ""}`}>
      <div class="field">
        <label for={id}>{label}</label>
        <input
          id={id}
          type="text"
          value={value}
          placeholder={t("seedHint")}
          autocomplete="off"
          spellcheck={false}
          aria-invalid={isWrong}
          aria-describedby={said ? `${id}-said` : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
        {said && (
          <small id={`${id}-said`} class={isWrong ? "wrong" : "hint"}>
            {said}
          </small>
        )}
      </div>
      <button
        type="button"
        class="quiet dice"
        aria-label={diceLabel}
        title={diceLabel}
        disabled={isDrawn(value)}
        onClick={() => onChange("")}
      >
        <Dices size={20} aria-hidden="true" />
      </button>
    </div>
  );
}
