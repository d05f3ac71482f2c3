import { useState } from "preact/hooks";
import type { GenerateView, ImageView } from "./server.js";
import type { Settings } from "./settings.js";
import { useWords } from "./store.js";

/** Where the picture from before stands in the one that it has grown to: outpainting's margins. */
type Margins = NonNullable<GenerateView["expand"]>;

const fits = { stretch: "fill", crop: "cover", fill: "contain", latent: "fill" } as const;

/** Two pictures on top of each other, with a slider between them. */
export function Compare({
  before,
  after,
  margins,
  resizeMode = "stretch",
}: {
  readonly before: string;
  readonly after: ImageView;
  readonly margins: Margins | undefined;
  /** How the picture from before came to the size of the one after. */
  readonly resizeMode: Settings["resizeMode"] | undefined;
}) {
  const t = useWords();
  const [share, setShare] = useState(50);
  return (
    <figure class="compare">
      <div class="layers">
        {!margins && (
          <img
            src={before}
            alt={t("before")}
            style={{ aspectRatio: `${after.width} / ${after.height}`, objectFit: fits[resizeMode] }}
          />
        )}
        <img src={after.url} alt={t("after")} style={{ clipPath: `inset(0 0 0 ${share}%)` }} />
        {margins && (
          <div class="before" style={{ clipPath: `inset(0 ${100 - share}% 0 0)` }}>
            <img class="placed" src={before} alt={t("before")} style={placed(margins, after)} />
          </div>
        )}
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

function placed({ left = 0, right = 0, top = 0, bottom = 0 }: Margins, { width, height }: ImageView) {
  const percent = (part: number, whole: number) => `${(100 * part) / whole}%`;
  return {
    left: percent(left, width),
    top: percent(top, height),
    width: percent(width - left - right, width),
    height: percent(height - top - bottom, height),
  };
}
