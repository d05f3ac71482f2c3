import {
  hiresUpscalers,
  type MaskedContent,
  maskedContents,
  resizeModes,
  rngNames,
  usualStrengths,
} from "../options/choices.js";
import { type AxisSetting, type FurtherNumber, furtherNames, noAxis } from "./axes.js";
import { type Extent, fitted, isLarge } from "./fields/picture-fit.js";
import type { Unit } from "./followed/units.js";
import { formStore, type Mode } from "./form-store.js";
import type { ModelView } from "./server.js";
import { createStore } from "./store.js";

export type { Mode };

/** What the forms hold. Empty strings are left to the server. */
export interface Settings extends Readonly<Record<FurtherNumber, number>> {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly steps: number;
  readonly guidance: number;
  readonly width: number;
  readonly height: number;
  /** The one side follows the other. */
  readonly lockShape: boolean;
  readonly count: number;
  readonly seed: string;
  /** 0 is none. */
  readonly variationStrength: number;
  readonly variationSeed: string;
  /** A second pass at a larger size. */
  readonly hires: boolean;
  readonly hiresScale: number;
  /** In its place; 0: not, or in proportion to the other. */
  readonly hiresWidth: number;
  readonly hiresHeight: number;
  /** 0 leaves them to the strength. */
  readonly hiresSteps: number;
  readonly hiresStrength: number;
  readonly hiresUpscaler: string;
  /** ControlNets and T2I-Adapters. */
  readonly control: readonly Unit[];
  readonly ipAdapter: readonly Unit[];
  readonly x: AxisSetting;
  readonly y: AxisSetting;
  readonly scheduler: string;
  readonly schedule: string;
  /** Scale of perturbed attention guidance; 0 is none. */
  readonly pagScale: number;
  /** The four factors of FreeU as they are typed; empty for none. */
  readonly freeu: string;
  /** Prompt and negative prompt are brought to one length. */
  readonly padPrompts: boolean;
  readonly rng: (typeof rngNames)[number];
  /** Of the steps, on pictures; 0 leaves it to the library. */
  readonly strength: number;
  /** Of image to image and inpainting; 0 is the picture's own. */
  readonly imageWidth: number;
  readonly imageHeight: number;
  readonly resizeMode: (typeof resizeModes)[number];
  readonly maskBlur: number;
  readonly maskedContent: MaskedContent;
  readonly onlyMasked: boolean;
  /** Grey in the mask says from which step on a pixel may change. */
  readonly softMask: boolean;
  readonly padding: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly upscaler: string;
  readonly scale: number;
  /** Labels of the chosen options, by what the form is for; empty: the server's default. */
  readonly model: string;
  readonly unconditionalModel: string;
  /** Label of the model that finishes what another has begun; empty for none. */
  readonly refiner: string;
  /** Share of the noise schedule at which it goes on. */
  readonly refinerSwitch: number;
  /** What a refiner is told; 0 leaves it to the model. */
  readonly aestheticScore: number;
  readonly negativeAestheticScore: number;
}

const noFurtherNumbers = Object.fromEntries(furtherNames.map((name) => [name, 0])) as Record<
  FurtherNumber,
  number
>;

/** Zeros and empty texts leave a setting to the model, whose own defaults the form shows. */
const initial: Settings = {
  prompt: "",
  negativePrompt: "",
  steps: 0,
  guidance: 0,
  width: 0,
  height: 0,
  lockShape: false,
  count: 1,
  seed: "",
  variationStrength: 0,
  variationSeed: "",
  hires: false,
  hiresScale: 1.5,
  hiresWidth: 0,
  hiresHeight: 0,
  hiresSteps: 0,
  hiresStrength: 0.7,
  hiresUpscaler: hiresUpscalers[0],
  control: [],
  ipAdapter: [],
  x: noAxis,
  y: noAxis,
  scheduler: "",
  schedule: "",
  ...noFurtherNumbers,
  pagScale: 0,
  freeu: "",
  padPrompts: false,
  rng: rngNames[0],
  strength: 0,
  imageWidth: 0,
  imageHeight: 0,
  resizeMode: resizeModes[0],
  maskBlur: 4,
  maskedContent: maskedContents[0],
  onlyMasked: false,
  softMask: false,
  padding: 32,
  left: 64,
  right: 64,
  top: 0,
  bottom: 0,
  upscaler: "emoji-x4-compact",
  scale: 2,
  model: "",
  unconditionalModel: "",
  refiner: "",
  refinerSwitch: 0.8,
  aestheticScore: 0,
  negativeAestheticScore: 0,
};

export const settings = formStore(initial, [
  "steps",
  "guidance",
  "scheduler",
  "schedule",
  "count",
  "variationStrength",
  "variationSeed",
  "strength",
]);

/** The pictures that the forms work on, as data: URLs; too large to remember. */
export interface Sources {
  /** The picture of image to image, inpaint, outpaint and upscale. */
  readonly image: string;
  readonly width: number;
  readonly height: number;
  /** White on black; empty while nothing is painted. */
  readonly mask: string;
  /** It is worked on at its own size, however large it is for the model. */
  readonly ownSize: boolean;
  /** What it was before it was made as small as the server takes pictures. */
  readonly shrunkFrom?: Extent;
}
export const noSources: Sources = { image: "", width: 0, height: 0, mask: "", ownSize: false };
export const sources = createStore<Sources>(noSources);

/** The size that a picture is brought to because the model draws no larger ones well; absent where it stays as it is. */
export function broughtTo(
  { width, height, ownSize }: Sources,
  model: Pick<ModelView, "size" | "factor"> | undefined,
): Extent | undefined {
  const picture = { width, height };
  return width > 0 && !ownSize && isLarge(picture, model) ? fitted(picture, model) : undefined;
}

/** Whether only the masked part is repainted: of large pictures, so that the rest keeps its pixels. */
export const isCloseUp = (
  form: Pick<Settings, "onlyMasked">,
  source: Sources,
  model: Pick<ModelView, "size" | "factor"> | undefined,
): boolean => form.onlyMasked || broughtTo(source, model) !== undefined;

/** The strength of a picture's form where none is chosen. */
export function usualStrength(mode: Mode, model: Pick<ModelView, "kind" | "isRefiner"> | undefined): number {
  if (mode === "inpaint") return usualStrengths.inpaint;
  if (mode !== "outpaint") return model?.isRefiner ? usualStrengths.refiner : usualStrengths.image;
  return model?.kind === "inpainting" ? usualStrengths.outpaint : usualStrengths.outpaintWithoutMask;
}

/** The choice of a model, in the form that it is for. */
export const modelSetting = ({ kind, label }: Pick<ModelView, "kind" | "label">): Partial<Settings> =>
  kind === "unconditional" ? { unconditionalModel: label } : { model: label };
