import { z } from "zod";
import type { OnProgress } from "../events.js";
import type { Latents } from "../latents/latents.js";
import { type Output, outputs } from "./choices.js";
import type { Descriptions } from "./described.js";
import { values, whole } from "./kinds.js";

/** What a run starts from and gives, and who follows it. */
export interface RunOptions {
  /** Unit noise to start from, [images, height / f, width / f, channels], in place of the seed's. */
  latents?: Latents;
  /** "latents" leaves out the decoding. Default "image". */
  output?: Output;
  /** Ends the run, before the next step at the latest, with the signal's reason. */
  signal?: AbortSignal;
  /**
   * Ends the denoising after the step that runs, without an error: the picture is what the network expects by then, or
   * the noisy one with a scheduler of your own that has no `clean`. Pictures that were not begun are left out; before the
   * first step of the first one there is none. The result's `notes` say that it was stopped.
   */
  stop?: AbortSignal;
  onProgress?: OnProgress;
  /** Small pictures in step events, of what the network expects by then; `latents` there still have their noise. */
  preview?: boolean | { every: number };
}

export const runOptions = {
  latents: { schema: values(4).extend({ scaling: z.string().optional() }) },
  output: { schema: z.enum(outputs), kept: true, fallback: outputs[0] },
  signal: { schema: z.instanceof(AbortSignal) },
  stop: { schema: z.instanceof(AbortSignal) },
  onProgress: {
    schema: z.custom<OnProgress>((value) => typeof value === "function", { error: "expected a function" }),
  },
  preview: { schema: z.union([z.boolean(), z.strictObject({ every: whole.min(1) })]) },
} as const satisfies Descriptions<RunOptions>;
