import { ArrowLeftRight, Lock } from "lucide-preact";
import { useRef } from "preact/hooks";
import { type Settings, settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import { NumberField } from "./fields.js";
import { type Drawn, type Extent, excess, offeredShapes, shapeName, sideRange } from "./picture-fit.js";

const change = (changes: Partial<Settings>) => settings.update(changes);

/** Width and height, by shape or in pixels. @param usual what the model draws where nothing is said */
export function SizeFields({ model, usual }: { readonly model: Drawn; readonly usual: Extent }) {
  const t = useWords();
  const form = useStore(settings);
  const size = { width: form.width || usual.width, height: form.height || usual.height };
  /** What is kept while the lock is shut, whatever is rounded on the way. */
  const ratio = useRef(size.width / size.height);
  if (!form.lockShape) ratio.current = size.width / size.height;
  const range = sideRange(model);
  const rounded = (pixels: number) =>
    Math.min(range.max, Math.max(range.min, Math.round(pixels / model.factor) * model.factor));
  const set = (side: keyof Extent, pixels: number) => {
    const { current } = ratio;
    const other = side === "width" ? { height: pixels / current } : { width: pixels * current };
    const [[name, value]] = Object.entries(other) as [[keyof Extent, number]];
    change({ ...size, [side]: pixels, ...(form.lockShape && { [name]: rounded(value) }) });
  };
  const times = excess(size, model);
  return (
    <fieldset class="size-fields">
      <legend>{t("shapes")}</legend>
      <div class="row shapes">
        {offeredShapes(model).map(({ shape, ...wanted }) => {
          const [across, down] = shape.split(":").map(Number) as [number, number];
          return (
            <button
              key={shape}
              type="button"
              class="shape"
              aria-pressed={wanted.width === size.width && wanted.height === size.height}
              title={`${wanted.width} × ${wanted.height}`}
              onClick={() => change(wanted)}
            >
              <span
                class="shape-box"
                style={{
                  aspectRatio: `${across} / ${down}`,
                  [across >= down ? "width" : "height"]: "1.1rem",
                }}
              />
              {shape}
            </button>
          );
        })}
      </div>
      <div class="size-sides">
        <NumberField
          {...range}
          label={t("width")}
          value={size.width}
          onChange={(width) => set("width", width)}
        />
        <button
          type="button"
          class="quiet"
          aria-label={t("swapSides")}
          title={t("swapSides")}
          onClick={() => {
            ratio.current = size.height / size.width;
            change({ width: size.height, height: size.width });
          }}
        >
          <ArrowLeftRight size={18} aria-hidden="true" />
        </button>
        <NumberField
          {...range}
          label={t("height")}
          value={size.height}
          onChange={(height) => set("height", height)}
        />
        <button
          type="button"
          class="quiet"
          aria-label={t("lockShape")}
          title={t("lockShape")}
          aria-pressed={form.lockShape}
          onClick={() => change({ lockShape: !form.lockShape })}
        >
          <Lock size={18} aria-hidden="true" />
        </button>
      </div>
      <small class="hint">
        {t("sizeInWords", size.width, size.height, shapeName(size))}
        {times > 1.5 && `; ${t("moreThanModel", times.toFixed(1))}`}
      </small>
    </fieldset>
  );
}
