import { z } from "zod";
import type { Size } from "../image/image.js";
import type { RngName, Seed } from "../latents/rng.js";
import type { SchedulerChoice, SchedulerFactory } from "../schedulers/scheduler.js";
import { rngNames } from "./choices.js";
import type { Descriptions } from "./described.js";
import { given, seed, share, size, whole } from "./kinds.js";

/** How a picture comes about: its size, its noise, and the steps from one to the other. */
export interface SamplingOptions {
  /** Pixels, multiples of the VAE's factor (8). Default: the size of `image`, else the model's own. */
  width?: number;
  height?: number;
  /** Denoising steps. Default: the model's own, else 20 (1000 for pixel-space DDPM, 4 for LCM, 75 and 100 for upscalers). */
  steps?: number;
  /** Default: the model's own. A config's `_class_name` names the rule. */
  scheduler?: SchedulerChoice | SchedulerFactory;
  /** Classifier-free guidance; 1 turns it off and halves the work. Default: the model's own, else 7.5 (upscalers 9). */
  guidance?: number;
  /** 0 to 1: how far over-exposure by guidance is corrected. Default: the model's own, else 0. */
  guidanceRescale?: number;
  /**
   * Shares of the run [start, end]: guides only between them (Kynkäänniemi et al. 2024), and elsewhere asks the network
   * only about the prompt, which halves the work of those steps. [0.2, 0.8] guides 12 of 20. Default: always.
   */
  guidanceInterval?: readonly [start: number, end: number];
  /**
   * Evaluates the whole UNet only every `interval` times, and in between only its outermost layers, on what the inner
   * ones gave the last time (DeepCache, Ma et al. 2023, "DeepCache: Accelerating Diffusion Models for Free": uniform
   * interval, branch 0). 2 to 5 is usual; the picture changes. Not for upscalers. Default: the whole UNet always.
   */
  deepCache?: { readonly interval: number };
  /**
   * Self-attention, where the picture is largest, works on fewer tokens (Bolya and Hoffman 2023, "Token Merging for Fast
   * Stable Diffusion"): the share of them, above 0 and at most 0.75, that is merged into those that they are most
   * like; 0.5 is usual. Pays for large pictures; the picture changes. Not for upscalers. Default: none.
   */
  tokenMerging?: number;
  /**
   * FreeU (Si et al. 2023, "FreeU: Free Lunch in Diffusion U-Net"): scales, in the first and the second up block, half of
   * the channels that come up (b1, b2) and the low frequencies of what they are joined with (s1, s2). 1 changes nothing;
   * its authors name 1.5, 1.6, 0.9 and 0.2 for SD 1, 1.4, 1.6, 0.9 and 0.2 for SD 2, 1.1, 1.2, 0.6 and 0.4 for SDXL. Default: none.
   */
  freeu?: { readonly b1: number; readonly b2: number; readonly s1: number; readonly s2: number };
  /**
   * Perturbed attention guidance (Ahn et al. 2024): away from what the UNet says when self-attention in some `layers` sees
   * only itself (down, mid, up, or a path such as up_blocks.1.attentions.0; default mid), by `scale` (3 is usual). It adds a
   * run of the UNet for each evaluation; with `guidanceInterval` it acts within it, too. Default: none.
   */
  pag?: { readonly scale: number; readonly layers?: readonly string[] };
  /**
   * SDXL's refiner: how beautiful the picture is to be, as people scored those of its training from 0 to 10 (default 6), and
   * how beautiful what the negative prompt stands for is (default 2.5).
   */
  aestheticScore?: number;
  negativeAestheticScore?: number;
  /** InstructPix2Pix: how close to stay to the image, default 1.5. */
  imageGuidance?: number;
  /** Share of fresh noise in DDIM and in ancestral schedulers; the default is the scheduler's. With others a note says that it has no effect. */
  eta?: number;
  /**
   * Image i uses seed + i. A list has one for each prompt, and image i of a prompt uses that one + i. Text goes through
   * seedrandom. Absent: drawn, and returned.
   */
  seed?: Seed | readonly Seed[];
  /** Images for each prompt, default 1. */
  count?: number;
  /** "torch" (default) reproduces torch's CPU generator, "philox" its CUDA one. */
  rng?: RngName;
  /** Turns the seed's noise by `strength` towards another seed's; image i then uses variation seed + i and one seed. */
  variation?: { readonly seed?: Seed; readonly strength: number };
  /** Draws the noise for a picture of this size and puts it in the middle: keeps the composition at another size. */
  seedSize?: Size;
  /** 0 to 1: leaves out the steps before this share of the noise schedule; `image` or `latents` are taken as they are. */
  denoisingStart?: number;
  /** 0 to 1: stops at this share of the noise schedule, so that another model can go on from the latents. */
  denoisingEnd?: number;
}

const score = z.number().min(0).max(10);
const factor = z.number().min(0).max(10);

export const samplingOptions = {
  width: {
    schema: whole.min(1),
    about: "pixels, a multiple of 8 (default: the model's own)",
    ...{ flag: "<pixels>", ofModel: true },
  },
  height: {
    schema: whole.min(1),
    about: "the same, of the other side",
    ...{ flag: "<pixels>", ofModel: true },
  },
  steps: {
    schema: whole.min(1),
    about: "denoising steps (default: the model's own, else 20)",
    ...{ flag: "<n>", axis: true, ofModel: true },
  },
  scheduler: { schema: given<SchedulerChoice | SchedulerFactory>(), axis: true, ofModel: true },
  guidance: {
    schema: z.number().min(0),
    about: "how closely to follow the prompt; 1 is off (default: the model's own, else 7.5)",
    ...{ only: "text", flag: "<scale>", axis: true, ofModel: true },
  },
  guidanceRescale: {
    schema: share,
    about: "0 to 1, against over-exposure by guidance (default: 0)",
    ...{ kept: true, fallback: 0, only: "text" },
    ...{ flag: "<share>", served: true, axis: true, ofModel: true, label: "Guidance rescale" },
  },
  guidanceInterval: {
    schema: z.tuple([share, share]),
    about:
      "shares of the run that are guided, such as 0.2 and 0.8; the rest takes half the time (default: all)",
    ...{ kept: true, only: "text", flag: "<start,end>", served: true, label: "Guidance interval" },
    inText: (shares: readonly number[]) => shares.join(" to "),
  },
  deepCache: {
    schema: z.strictObject({ interval: whole.min(2) }),
    about: "evaluates the whole network only at every n-th step (default: at each)",
    ...{ kept: true, only: "text", not: ["upscale"], label: "DeepCache interval" },
    inText: ({ interval }: { interval: number }) => interval,
  },
  tokenMerging: {
    schema: z.number().gt(0).max(0.75),
    about: "share of the tokens that are merged in self-attention, 0.5; for large pictures (default: none)",
    ...{ kept: true, only: "text", not: ["upscale"] },
    ...{ flag: "<share>", served: true, axis: true, label: "Token merging ratio" },
  },
  freeu: {
    schema: z.strictObject({ b1: factor, b2: factor, s1: factor, s2: factor } satisfies Record<
      keyof NonNullable<SamplingOptions["freeu"]>,
      z.ZodType
    >),
    about: "FreeU: factors of the first two up blocks, such as 1.5,1.6,0.9,0.2",
    ...{ kept: true, only: "text", not: ["upscale"] },
    ...{ flag: "<b1,b2,s1,s2>", served: true, label: "FreeU" },
    inText: ({ b1, b2, s1, s2 }) => [b1, b2, s1, s2].join(" "),
  },
  pag: {
    schema: z.strictObject({
      scale: z.number().min(0).max(100),
      layers: z.array(z.string().max(100)).min(1).max(100).optional(),
    } satisfies Record<keyof NonNullable<SamplingOptions["pag"]>, z.ZodType>),
    about: "perturbed attention guidance: its scale (3 is usual), and in which layers (default: mid)",
    ...{ only: "text", not: ["instruct", "upscale"] },
    ...{ flag: "<scale[:layers]>", served: true, label: "PAG" },
    inText: ({ scale, layers = ["mid"] }) => `${scale} ${layers.join(" ")}`,
  },
  aestheticScore: {
    schema: score,
    about: "refiners: how beautiful the picture is to be, 0 to 10 (default: 6)",
    ...{ only: "refiner", flag: "<score>", served: true, axis: true, label: "Aesthetic score" },
  },
  negativeAestheticScore: {
    schema: score,
    about: "refiners: the same of what the negative prompt stands for (default: 2.5)",
    ...{ only: "refiner", flag: "<score>", served: true, label: "Negative aesthetic score" },
  },
  imageGuidance: {
    schema: z.number().min(0),
    about: "InstructPix2Pix: how close to stay to the image (default: 1.5)",
    ...{ only: "instruct", flag: "<scale>", served: true },
  },
  eta: {
    schema: share,
    about: "share of fresh noise in DDIM and its like (default: the scheduler's)",
    ...{ kept: true, flag: "<share>", served: true, axis: true, label: "Eta" },
  },
  seed: {
    schema: z.union([seed, z.array(seed).min(1)]),
    about: "number or text; picture i uses seed + i (default: drawn)",
    ...{ flag: "<n>", axis: true },
  },
  count: { schema: whole.min(1).max(1000), about: "pictures for each prompt (default: 1)" },
  rng: {
    schema: z.enum(rngNames),
    about: "noise as torch draws it on the CPU (default), or with CUDA (philox)",
    ...{ kept: true, fallback: rngNames[0], flag: "<name>", served: true, axis: true },
  },
  variation: {
    schema: z.strictObject({ seed: seed.optional(), strength: share }),
    about: "turns the noise of the seed towards that of another",
  },
  seedSize: { schema: size, about: "keeps the composition of a picture of this size", kept: true },
  denoisingStart: {
    schema: share,
    ...{ kept: true, needs: ["image", "latents"], not: ["instruct", "upscale"] },
  },
  denoisingEnd: { schema: share, kept: true },
} as const satisfies Descriptions<SamplingOptions>;
