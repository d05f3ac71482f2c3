import { useState } from "preact/hooks";
import { useWords } from "./store.js";

/** Two pictures on top of each other, with a slider between them. */
export function Compare({ before, after }: { readonly before: string; readonly after: string }) {
  const t = useWords();
  const [share, setShare] = useState(50);
  return (
    <figure class="compare">
      <div class="layers">
        <img src={before} alt={t("before")} />
        <img src={after} alt={t("after")} style={{ clipPath: `inset(0 0 0 ${share}%)` }} />
        <div class="divider" style={{ left: `${share}%` }} />
      </div>
      <input
        type="range"
        min={0}
        max={100}
        value={share}
        aria-label={t("compare")}
        onInput={(event) => setShare(Number(event.currentTarget.value))}
      />
      <figcaption class="row spread">
        <span>{t("before")}</span>
        <span>{t("after")}</span>
      </figcaption>
    </figure>
  );
}
