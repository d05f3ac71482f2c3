import { z } from "zod";
import { check } from "./load.js";
import { refusal } from "./refusal.js";

/** Of one picture that is enlarged. */
export interface UpscaleOptions {
  /** How many times as wide and high, above 0 to 16. Default: the network's own scale. */
  scale?: number;
  /** Pixels of the result; where one of them is absent, the picture keeps its proportions. Not with `scale`. */
  width?: number;
  height?: number;
  /** Stops between tiles. */
  signal?: AbortSignal;
  /** Told after each tile; most pictures are one. */
  onProgress?: (done: number, total: number) => void;
}

const MOST_PIXELS = 16_384;
const side = z
  .int({ error: `a whole number of pixels from 1 to ${MOST_PIXELS}` })
  .min(1, { error: "above 0" })
  .max(MOST_PIXELS, { error: `at most ${MOST_PIXELS} pixels` });

const schema = z.strictObject({
  scale: z
    .number({ error: "a number" })
    .positive({ error: "above 0" })
    .max(16, { error: "at most 16" })
    .optional(),
  width: side.optional(),
  height: side.optional(),
  signal: z.instanceof(AbortSignal, { error: "an AbortSignal" }).optional(),
  onProgress: z
    .custom<UpscaleOptions["onProgress"]>((value) => typeof value === "function", { error: "a function" })
    .optional(),
} satisfies Record<keyof UpscaleOptions, z.ZodType>);

/** @throws DiffusionError BAD_OPTION */
export function checkUpscaleOptions(options: UpscaleOptions): void {
  check(schema, options);
  if (options.scale !== undefined && (options.width ?? options.height) !== undefined)
    throw refusal("scale says the size of the result, and so do width and height: give one of them");
}
