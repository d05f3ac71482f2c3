import { z } from "zod";
import { webuiSettings } from "../../storage/settings.js";

/*
 * Requests of AUTOMATIC1111's API: names and defaults of `modules/api/models.py`, which derives them from the
 * pipelines' arguments. Clients send null for what they leave to the server.
 */

/** As pydantic reads them there: true is 1, 1 is true, and "20" is 20. */
const lax = {
  number: z.union(
    [
      z.number(),
      z.boolean().transform(Number),
      z
        .string()
        .regex(/^ *-?\d+(\.\d+)? *$/)
        .transform(Number),
    ],
    { error: "expected a number" },
  ),
  flag: z.union([z.boolean(), z.literal([0, 1]).transform(Boolean), z.stringbool()], {
    error: "expected true or false",
  }),
};

const text = (value = "") => z.string().nullish().transform((given) => given ?? value); // biome-ignore format: a pair
const number = (value: number) => lax.number.nullish().transform((given) => given ?? value); // biome-ignore format: a pair
const flag = (value: boolean) => lax.flag.nullish().transform((given) => given ?? value); // biome-ignore format: a pair
const maybe = {
  text: z.string().nullish(),
  number: lax.number.nullish(),
  flag: lax.flag.nullish(),
};

const common = {
  prompt: text(),
  negative_prompt: maybe.text,
  styles: z.array(z.string()).nullish(),
  seed: number(-1),
  subseed: number(-1),
  subseed_strength: number(0),
  seed_resize_from_h: number(-1),
  seed_resize_from_w: number(-1),
  sampler_name: maybe.text,
  scheduler: maybe.text,
  batch_size: number(1),
  n_iter: number(1),
  steps: maybe.number,
  cfg_scale: maybe.number,
  width: maybe.number,
  height: maybe.number,
  restore_faces: maybe.flag,
  tiling: maybe.flag,
  do_not_save_samples: flag(false),
  do_not_save_grid: flag(false),
  eta: maybe.number,
  denoising_strength: number(0.75),
  s_min_uncond: maybe.number,
  s_churn: maybe.number,
  s_tmax: maybe.number,
  s_tmin: maybe.number,
  s_noise: maybe.number,
  override_settings: z.record(z.string(), z.unknown()).nullish(),
  override_settings_restore_afterwards: flag(true),
  refiner_checkpoint: maybe.text,
  refiner_switch_at: maybe.number,
  disable_extra_networks: flag(false),
  comments: z.record(z.string(), z.unknown()).nullish(),
  sampler_index: maybe.text,
  script_name: maybe.text,
  script_args: z.array(z.unknown()).nullish(),
  send_images: flag(true),
  save_images: flag(false),
  alwayson_scripts: z.record(z.string(), z.unknown()).nullish(),
  force_task_id: maybe.text,
  infotext: maybe.text,
};

export const txt2img = z.object({
  ...common,
  enable_hr: flag(false),
  firstphase_width: number(0),
  firstphase_height: number(0),
  hr_scale: number(2),
  hr_upscaler: maybe.text,
  hr_second_pass_steps: number(0),
  hr_resize_x: number(0),
  hr_resize_y: number(0),
  hr_checkpoint_name: maybe.text,
  hr_sampler_name: maybe.text,
  hr_scheduler: maybe.text,
  hr_prompt: text(),
  hr_negative_prompt: text(),
});
export type GivenTxt2img = z.infer<typeof txt2img>;

export const img2img = z.object({
  ...common,
  init_images: z.array(z.string()).nullish(),
  resize_mode: number(0),
  image_cfg_scale: maybe.number,
  mask: maybe.text,
  mask_blur_x: number(4),
  mask_blur_y: number(4),
  mask_blur: maybe.number,
  mask_round: flag(true),
  inpainting_fill: number(0),
  inpaint_full_res: flag(true),
  inpaint_full_res_padding: number(0),
  inpainting_mask_invert: number(0),
  initial_noise_multiplier: maybe.number,
  latent_mask: maybe.text,
  include_init_images: flag(false),
});
export type GivenImg2img = z.infer<typeof img2img>;

/** What the model's own defaults may say, and otherwise the web UI's. */
interface Defaulted {
  readonly negative_prompt: string;
  readonly sampler_index: string;
  readonly steps: number;
  readonly cfg_scale: number;
  readonly width: number;
  readonly height: number;
}
export type WithDefaults<Given> = Omit<Given, keyof Defaulted> & Defaulted;
export type Txt2img = WithDefaults<GivenTxt2img>;
export type Img2img = WithDefaults<GivenImg2img>;

const extras = {
  resize_mode: number(0),
  show_extras_results: flag(true),
  gfpgan_visibility: number(0),
  codeformer_visibility: number(0),
  codeformer_weight: number(0),
  upscaling_resize: number(2),
  upscaling_resize_w: number(512),
  upscaling_resize_h: number(512),
  upscaling_crop: flag(true),
  upscaler_1: text("None"),
  upscaler_2: text("None"),
  extras_upscaler_2_visibility: number(0),
  upscale_first: flag(false),
};
export const extraSingleImage = z.object({ ...extras, image: text() });
export type ExtraSingleImage = z.infer<typeof extraSingleImage>;
export const extraBatchImages = z.object({
  ...extras,
  imageList: z.array(z.object({ data: z.string(), name: text() })).max(64),
});
export type ExtraBatchImages = z.infer<typeof extraBatchImages>;

export const pngInfoBody = z.object({ image: z.string() });
export const interrogateBody = z.object({ image: maybe.text, model: maybe.text });

/**
 * The settings that mean something here. Of others, those that would change pictures are refused (`fixedSettings`), and
 * the rest is taken and forgotten, as clients send all that they know.
 */
export const optionsBody = z.looseObject({
  sd_model_checkpoint: z.string().nullish(),
  CLIP_stop_at_last_layers: z.number().int().min(1).max(12).nullish(),
  randn_source: z.enum(["GPU", "CPU", "NV"]).nullish(),
  sd_vae: z.string().nullish(),
  ...webuiSettings.shape,
  control_net_no_detectmap: z.boolean().nullish(),
  samples_format: z.enum(["png", "jpg", "jpeg", "webp"]).nullish(),
});

export const internalProgress = z.object({
  id_task: maybe.text,
  id_live_preview: number(-1),
  live_preview: flag(true),
});

/** Fields of requests that are taken and decide nothing here, each with its reason; all others are read. */
export const withoutMeaning: Readonly<Record<string, string>> = {
  do_not_save_samples: "every picture is kept in the history, and only there",
  do_not_save_grid: "no grid is made unless it is asked for",
  save_images: "every picture is kept in the history, and only there",
  s_tmax: "bounds s_churn, which is refused above 0",
  comments: "words about the request for whoever made it",
  script_args: "of script_name, which is refused",
  show_extras_results: "of the web UI's own page; the answer has the picture",
  codeformer_weight: "of codeformer_visibility, which is refused above 0",
  upscaler_2: "of extras_upscaler_2_visibility, which is refused above 0",
  upscale_first: "before faces are restored, which is refused",
  model: "of interrogate, which is refused",
  name: "of the files of a batch, which come back in their order",
};
