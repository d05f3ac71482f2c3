import { z } from "zod";

/* What the web UI's ControlNet extension takes: its units, and the bodies of its own routes. */

const resizeModes = ["Just Resize", "Crop and Resize", "Resize and Fill"];
/** As the extension called the second and third before, in whichever order its versions wrote the words. */
const formerResizeModes: Readonly<Record<string, number>> = {
  "scale to fit (inner fit)": 1,
  "inner fit (scale to fit)": 1,
  "envelope (outer fit)": 2,
  "outer fit (shrink to fit)": 2,
};
export const controlModes = ["Balanced", "My prompt is more important", "ControlNet is more important"];

const picture = z.string().nullish();
const number = (usual: number) => z.number().nullish().transform((given) => given ?? usual); // biome-ignore format: a pair
/** Said by its number or in words. */
const choice = (words: readonly string[], usual: number, former: Readonly<Record<string, number>> = {}) =>
  z
    .union([z.number().int(), z.string()])
    .nullish()
    .transform((given) =>
      typeof given === "string" ? (former[given.toLowerCase()] ?? words.indexOf(given)) : (given ?? usual),
    )
    .refine((index) => words[index] !== undefined, `expected one of ${words.join(", ")}`);

/** One of them. What nothing is made of is refused, or stands in `withoutMeaning`. */
export const unit = z.object({
  enabled: z.boolean().nullish(),
  module: z.string().nullish(),
  model: z.string().nullish(),
  weight: number(1).pipe(z.number().min(0).max(2)),
  image: z.union([z.string(), z.object({ image: z.string(), mask: picture })]).nullish(),
  input_image: picture,
  mask: picture,
  mask_image: picture,
  resize_mode: choice(resizeModes, 1, formerResizeModes),
  control_mode: choice(controlModes, 0),
  processor_res: number(-1),
  /** The resolution follows from the size that is asked for. */
  pixel_perfect: z.boolean().nullish(),
  threshold_a: number(-1),
  threshold_b: number(-1),
  save_detected_map: z.boolean().nullish(),
  guidance_start: number(0),
  guidance_end: z.number().nullish(),
  /** The older name. */
  guidance: z.number().nullish(),
  /** Before there were control modes: the last of them. */
  guess_mode: z.boolean().nullish(),
  guessmode: z.boolean().nullish(),
  /** Which of the passes of a hires fix. */
  hr_option: z.string().nullish(),
  advanced_weighting: z.array(z.unknown()).nullish(),
  effective_region_mask: z.unknown().optional(),
  ipadapter_input: z.unknown().optional(),
  batch_images: z.unknown().optional(),
  /** Of versions without modules for it. */
  invert_image: z.boolean().nullish(),
  rgbbgr_mode: z.boolean().nullish(),
});
export type Unit = z.infer<typeof unit>;

export const detectBody = z.object({
  controlnet_module: z.string().nullish(),
  controlnet_input_images: z.array(z.string()).max(16).nullish(),
  /** What webuiapi calls them. */
  controlnet_images: z.array(z.string()).max(16).nullish(),
  controlnet_processor_res: number(-1),
  controlnet_threshold_a: number(-1),
  controlnet_threshold_b: number(-1),
});
