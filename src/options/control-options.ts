import { z } from "zod";
import { type Preprocessor, preprocessors } from "../image/preprocess.js";
import type { Descriptions } from "./described.js";
import type { ImageInput, MaskInput } from "./image-options.js";
import { given, share } from "./kinds.js";
import { refusal } from "./refusal.js";

/** A picture that a ControlNet or T2I-Adapter makes the result follow: edges, depth, poses, as it was trained on. */
export interface ControlInput {
  /** A ControlNet or T2I-Adapter that was made for this kind of model: folder, hub name, or a file with a ControlNet. */
  readonly model: string;
  /** Brought to the size generated at; with `onlyMasked` cropped as the image is, with `expand` of the grown picture. */
  readonly image: ImageInput;
  /**
   * ControlNets for inpainting: where the picture has holes, which they are shown as -1. White (255) or transparent is a
   * hole; brought to the picture's size. Default: no holes.
   */
  readonly mask?: MaskInput;
  /** What turns it into one that can be followed, one step after the other. Default: nothing, it is one. */
  readonly preprocess?: Preprocessor | readonly Preprocessor[];
  /** How closely to follow it, default 1. */
  readonly scale?: number;
  /** Shares of the steps between which it acts, default 0 and 1. */
  readonly start?: number;
  readonly end?: number;
  /** ControlNet, for work without a prompt: weak on fine structure, and the negative prompt is not steered. Default false. */
  readonly guess?: boolean;
}

/** A picture, or several, that the result takes after in subject and style, beside the prompt (IP-Adapter). */
export interface IpAdapterInput {
  /** Name of a loaded one, else file or hub name (owner/name:folder/file.safetensors). Default: the only loaded one. */
  readonly model?: string;
  /** Folder or hub name of its image encoder. Default: image_encoder beside the file. */
  readonly imageEncoder?: string;
  readonly image: ImageInput | readonly ImageInput[];
  /** How much it counts beside the prompt, default 1. */
  readonly scale?: number;
  /** Shares of the steps between which it counts, default 0 and 1. */
  readonly start?: number;
  readonly end?: number;
}

/** Pictures that the result follows beside the prompt. */
export interface ControlOptions {
  /** ControlNets and T2I-Adapters; what several do is added up. */
  controlnet?: readonly ControlInput[];
  /** IP-Adapters; what several see is added up. */
  ipAdapter?: IpAdapterInput | readonly IpAdapterInput[];
}

const threshold = z.number().min(0).max(100_000);
const preprocessor = z.union([
  z.enum(preprocessors),
  z.strictObject({
    name: z.literal("canny"),
    low: threshold.optional(),
    high: threshold.optional(),
    norm: z.enum(["l1", "l2"]).optional(),
  }),
]);

const control = z.strictObject({
  model: z.string(),
  image: given<ImageInput>(),
  mask: given<MaskInput>().optional(),
  preprocess: z.union([preprocessor, z.array(preprocessor)]).optional(),
  scale: z.number().optional(),
  start: share.optional(),
  end: share.optional(),
  guess: z.boolean().optional(),
} satisfies Record<keyof ControlInput, z.ZodType>);

const ipAdapter = z.strictObject({
  model: z.string().optional(),
  imageEncoder: z.string().optional(),
  image: given<ImageInput | readonly ImageInput[]>(),
  scale: z.number().optional(),
  start: share.optional(),
  end: share.optional(),
} satisfies Record<keyof IpAdapterInput, z.ZodType>);

/** Refuses what would act at no step. @throws DiffusionError BAD_OPTION */
export function refuseEmptyWindows({ controlnet = [], ipAdapter = [] }: ControlOptions): void {
  const given = { controlnet, ipAdapter: [ipAdapter].flat() as IpAdapterInput[] };
  for (const [name, inputs] of Object.entries(given))
    for (const [i, { start = 0, end = 1 }] of inputs.entries())
      if (start >= end)
        throw refusal(
          `${name}.${i}: expected a start before its end, got start ${start} and end ${end}`,
          "they are shares of the steps: start 0 and end 0.5 are the first half",
        );
}

export const controlOptions = {
  controlnet: { schema: z.array(control).min(1), only: "text", not: ["upscale"] },
  ipAdapter: {
    schema: z.union([ipAdapter, z.array(ipAdapter).min(1)]),
    ...{ only: "text", not: ["upscale"] },
  },
} as const satisfies Descriptions<ControlOptions>;
