import { z } from "zod";
import type { Size } from "../image/image.js";
import type { Emphasis } from "../text/emphasis.js";
import type { PromptSyntax } from "../text/prompt.js";
import type { WildcardLists } from "../text/wildcards.js";
import { emphases, emphasisLabels, promptSyntaxes } from "./choices.js";
import type { Conditioning } from "./conditioning.js";
import type { Descriptions } from "./described.js";
import { size, values, whole } from "./kinds.js";

/** SDXL's size conditioning in pixels: what the model is told about the picture that it is to make. */
export interface SizeConditioning {
  /** Size of the picture before it was scaled and cropped. Default: the size generated at. */
  readonly original?: Size;
  /** Left upper corner of the crop. Default 0, 0. */
  readonly crop?: { readonly left: number; readonly top: number };
  /** Size that it was cropped to. Default: the size generated at. */
  readonly target?: Size;
}

/** What to draw, in words. */
export interface TextOptions {
  /** Absent only for models without a text encoder. Several prompts make `count` images each. */
  prompt?: string | string[];
  negativePrompt?: string | string[];
  /**
   * What signs in prompts mean: "plain" (default) nothing, and long prompts are cut, as in diffusers; "a1111" the web
   * UI's attention, editing, AND and BREAK; "compel" its weights. The last two take prompts of any length, in chunks;
   * "a1111" skips layers (`clipSkip`) for the negative prompt, too. `<lora:name:0.8>` is understood in each.
   */
  promptSyntax?: PromptSyntax;
  /**
   * With "a1111", as the web UI's setting Emphasis mode: whether weights leave the mean of a chunk's embedding as it was
   * ("original", the default) or may change it ("no-norm"), are read but count for nothing ("ignore"), or are ordinary
   * text, as BREAK is then ("none").
   */
  emphasis?: Emphasis;
  /**
   * With "a1111", as the web UI's setting "Pad prompt/negative prompt": where one of the two takes more chunks of 75
   * tokens, the other gets empty ones behind, which the picture shows a little. Default false: each counts as it is.
   */
  padPrompts?: boolean;
  /**
   * Lists of words: a folder with a text file for each, or the lists themselves. With it, `__name__` in a prompt is a
   * line of that list, `{a|b}` one of its parts (`{2$$a|b|c}` two of them, `{3::a|b}` a three times as often), and both
   * may lie in each other; `{}` also without any list. The seed of each picture draws; the result's `options` and the
   * picture's parameters have what was drawn. Without this option both are plain text.
   */
  wildcards?: string | WildcardLists;
  /** In place of `prompt` and `negativePrompt`: what `encodePrompt` gave, or the like. */
  promptEmbeds?: Conditioning;
  negativePromptEmbeds?: Conditioning;
  /** SDXL: for the second text encoder. Default: the same as for the first. */
  prompt2?: string | string[];
  negativePrompt2?: string | string[];
  /**
   * Text encoder layers left out at the end, counted as diffusers does: 1 is the penultimate one.
   * Default 0. As there, the negative prompt is encoded by all layers, and SDXL counts from the penultimate one. The web UI's
   * clip skip is for Stable Diffusion 1 alone: over `/sdapi/v1`, and in pictures of the web UI, others ignore it.
   */
  clipSkip?: number;
  /** SDXL: what the model is told about sizes; `negative` is for the negative prompt, by default the same. */
  sizes?: SizeConditioning & { readonly negative?: SizeConditioning };
}

const text = z.union([z.string(), z.array(z.string()).min(1)]);
const conditioning = z.strictObject({ context: values(3), pooled: values(2).optional() });
const sizes = {
  original: size.optional(),
  crop: z.strictObject({ left: whole, top: whole }).optional(),
  target: size.optional(),
} satisfies Record<keyof SizeConditioning, z.ZodType>;

export const textOptions = {
  prompt: { schema: text, axis: true, only: "text" },
  negativePrompt: {
    schema: text,
    about: "what to keep away from",
    ...{ only: "text", axis: true, ofModel: true },
  },
  promptSyntax: {
    schema: z.enum(promptSyntaxes),
    about: "how (x:1.3), [a:b:0.5], AND and BREAK in prompts are read (default: plain, as they stand)",
    ...{ kept: true, fallback: promptSyntaxes[0] },
    ...{ only: "text", flag: "<name>", served: true, axis: true },
  },
  emphasis: {
    schema: z.enum(emphases),
    about:
      "a1111: whether weights in prompts count, and what they do to the mean (default: original, it is restored)",
    ...{ kept: true, fallback: emphases[0], only: "text", flag: "<name>", served: true, label: "Emphasis" },
    inText: (emphasis: Emphasis) => emphasisLabels[emphasis],
  },
  padPrompts: {
    schema: z.boolean(),
    about:
      "a1111: empty chunks behind the shorter of prompt and negative prompt (default: off, as in the web UI)",
    ...{ kept: true, fallback: false, only: "text", flag: "", served: true, label: "Pad conds" },
    inText: () => "True",
  },
  wildcards: {
    schema: z.union([z.string().min(1), z.record(z.string(), z.array(z.string()))]),
    about: "folder of lists that __name__ in prompts draws lines of; {a|b} draws a part",
    ...{ only: "text", flag: "<folder>" },
  },
  promptEmbeds: { schema: conditioning, only: "text" },
  negativePromptEmbeds: { schema: conditioning, only: "text" },
  prompt2: { schema: text, only: "sdxl" },
  negativePrompt2: { schema: text, only: "sdxl" },
  clipSkip: {
    schema: whole.min(0),
    about: "text encoder layers to leave out at the end (default: 0)",
    ...{ kept: true, fallback: 0, only: "text", flag: "<n>", axis: true, ofModel: true },
  },
  sizes: {
    schema: z.strictObject({ ...sizes, negative: z.strictObject(sizes).optional() }),
    ...{ kept: true, only: "sized" },
  },
} as const satisfies Descriptions<TextOptions>;
