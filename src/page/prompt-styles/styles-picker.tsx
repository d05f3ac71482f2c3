import { Download, Plus, X } from "lucide-preact";
import { useEffect, useState } from "preact/hooks";
import { FileButton } from "../fields/file-button.js";
import { saveAs } from "../history/zip.js";
import { note } from "../navigation.js";
import { settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import {
  allStyles,
  forgetStyle,
  loadStyles,
  saveStyle,
  servedStyles,
  styleChoice,
  styled,
} from "./prompt-styles.js";
import { usesWildcards, useWildcardNames } from "./wildcards.js";

/** A script of its own, which few need. */
const stylesCsvFile = () => import("./styles-csv.js");

/** Words around the prompt by name, several at once, and what is sent with them. */
export function StylesPicker() {
  const t = useWords();
  const form = useStore(settings);
  const { chosen, saved } = useStore(styleChoice);
  const served = useStore(servedStyles);
  const names = useWildcardNames();
  const [name, setName] = useState("");
  useEffect(() => void loadStyles().catch(() => {}), []);
  const known = allStyles(saved, served);
  const active = chosen.filter((one) => known.some((style) => style.name === one));
  const toggle = (one: string) =>
    styleChoice.update({
      chosen: active.includes(one) ? active.filter((other) => other !== one) : [...active, one],
    });
  const sent = styled(form);
  const draws = usesWildcards(sent);
  const read = async (file: File) => {
    const styles = (await stylesCsvFile()).stylesOfCsv(await file.text());
    if (!styles) return note.set(t("stylesNone", file.name));
    for (const style of styles) saveStyle(style);
    note.set(t("stylesRead", styles.length));
  };
  return (
    <details class="styles">
      <summary>
        {t("styles")}
        {active.length > 0 && <span class="hint"> {active.join(", ")}</span>}
      </summary>
      <div class="fields">
        <div class="chips">
          {known.map((style) => (
            <button
              key={style.name}
              type="button"
              class="chip"
              aria-pressed={active.includes(style.name)}
              title={[style.prompt, style.negativePrompt].filter(Boolean).join(" — ")}
              onClick={() => toggle(style.name)}
            >
              {style.name}
            </button>
          ))}
        </div>
        {(active.length > 0 || draws) && (
          <div class="sent" aria-live="polite">
            <p class="hint">{t("isSent")}</p>
            <p>{sent.prompt || "–"}</p>
            {sent.negativePrompt && <p class="hint">− {sent.negativePrompt}</p>}
            {draws && <p class="hint">{t("drawsEach")}</p>}
          </div>
        )}
        <div class="row">
          <input
            type="text"
            class="style-name"
            aria-label={t("styleName")}
            placeholder={t("styleName")}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          <button
            type="button"
            class="quiet"
            disabled={name.trim() === ""}
            onClick={() => {
              const { prompt, negativePrompt } = form;
              saveStyle({ name: name.trim(), prompt, negativePrompt });
              setName("");
            }}
          >
            <Plus /> {t("styleSave")}
          </button>
          {saved.some((style) => active.includes(style.name)) && (
            <button
              type="button"
              class="danger"
              onClick={() => {
                for (const style of saved) if (active.includes(style.name)) forgetStyle(style.name);
              }}
            >
              <X /> {t("styleForget")}
            </button>
          )}
          <FileButton
            quiet
            label={t("stylesImport")}
            types={["text/csv", ".csv"]}
            onFile={(file) => void read(file)}
          />
          <button
            type="button"
            class="quiet"
            onClick={async () => {
              const { stylesCsv } = await stylesCsvFile();
              saveAs(new Blob([stylesCsv(known)], { type: "text/csv" }), "styles.csv");
            }}
          >
            <Download /> {t("stylesExport")}
          </button>
        </div>
        <p class="hint">
          {t("wildcardsHelp")}
          {names.length > 0 && ` ${names.map((one) => `__${one}__`).join(", ")}`}
        </p>
      </div>
    </details>
  );
}
