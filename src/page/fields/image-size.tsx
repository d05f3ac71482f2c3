import { resizeModes } from "../../options/choices.js";
import { broughtTo, isCloseUp, type Settings, settings, sources } from "../settings.js";
import { useModel } from "../settings-form.js";
import { useStore, useWords } from "../store.js";
import type { Word } from "../words.js";
import { NumberField, Select } from "./fields.js";
import { sideRange } from "./picture-fit.js";

const change = (changes: Partial<Settings>) => settings.update(changes);

const resizeWords: Readonly<Record<Settings["resizeMode"], Word>> = {
  stretch: "justResize",
  crop: "cropAndResize",
  fill: "resizeAndFill",
  latent: "resizeLatents",
};

/** The size that a picture is repainted at, its own unless one is typed, and how the picture is brought to it. */
export function ImageSize({ mode }: { readonly mode: "image" | "inpaint" }) {
  const t = useWords();
  const form = useStore(settings);
  const { imageWidth, imageHeight, resizeMode } = form;
  const source = useStore(sources);
  const model = useModel(mode);
  const { size = 512, factor = 8 } = model ?? {};
  const closeUp = mode === "inpaint" && isCloseUp(form, source, model);
  const brought = mode === "image" ? broughtTo(source, model) : undefined;
  /** What is taken where nothing is typed. */
  const own = (side: "width" | "height"): number => {
    const pixels = source[side];
    if (pixels === 0 || closeUp) return size;
    if (brought) return brought[side];
    return mode === "inpaint" ? pixels : Math.max(factor, pixels - (pixels % factor));
  };
  const range = sideRange(model);
  return (
    <div class="grid">
      <NumberField
        {...range}
        label={t("width")}
        value={imageWidth || own("width")}
        onChange={(imageWidth) => change({ imageWidth })}
      />
      <NumberField
        {...range}
        label={t("height")}
        value={imageHeight || own("height")}
        onChange={(imageHeight) => change({ imageHeight })}
      />
      {!closeUp && (
        <Select
          label={t("resizeMode")}
          value={resizeMode}
          choices={resizeModes
            .filter((value) => value !== "latent" || mode === "image")
            .map((value) => ({ value, label: t(resizeWords[value]) }))}
          onChange={(value) => change({ resizeMode: value as Settings["resizeMode"] })}
        />
      )}
      {(imageWidth > 0 || imageHeight > 0) && (
        <button type="button" class="quiet" onClick={() => change({ imageWidth: 0, imageHeight: 0 })}>
          {t("ownSize")}
        </button>
      )}
    </div>
  );
}
