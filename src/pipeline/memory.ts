import { totalmem } from "node:os";
import { DiffusionError } from "../errors.js";
import type { Size } from "../image/image.js";
import type { UpscalerConfig } from "../models/upscaler-config.js";
import type { WholeOptions } from "../options/resolved.js";
import { type Computed, enlargedBy, peakOf } from "./peak.js";

/**
 * Refuses a picture that cannot fit, before any work is done: with all of its passes, and what stands beside the UNet.
 *
 * @param memory that there is, in bytes
 * @throws DiffusionError UNSUPPORTED, with the size that would fit
 */
export function refuseWhatCannotFit(computed: Computed, memory: Memory = memoryFor()): void {
  const needed = peakOf(computed);
  if (needed <= memory.bytes) return;
  const { mode, width, height, hires } = computed.options;
  const size = hires ?? { width, height };
  if (mode === "upscale" || mode === "outpaint")
    throw tooLarge(size, needed, memory, "begin with a smaller picture");
  const fits = fitting(computed, needed, memory.bytes);
  throw tooLarge(size, needed, memory, `${fits.width}x${fits.height} would fit`);
}

/**
 * The same for a picture that a network enlarges by itself.
 *
 * @throws DiffusionError UNSUPPORTED
 */
export function refuseEnlargement(
  config: UpscalerConfig,
  picture: Size,
  goal: Size,
  memory: Memory = memoryFor(),
): void {
  const needed = enlargedBy(config, picture, goal);
  if (needed > memory.bytes)
    throw tooLarge(goal, needed, memory, "enlarge a smaller picture, or parts of it");
}

const tooLarge = ({ width, height }: Size, needed: number, { bytes, whose }: Memory, hint: string) =>
  new DiffusionError(
    "UNSUPPORTED",
    `a picture of ${width}x${height} needs about ${inGigabytes(needed)} of memory, and ${whose} ${inGigabytes(bytes)}`,
    { hint },
  );

/** The largest size of about the same proportions. */
function fitting(computed: Computed, needed: number, memory: number): Size {
  const { options, loaded } = computed;
  const { factor } = loaded.traits;
  const unit = 8 * factor;
  for (let scale = Math.sqrt(memory / needed); ; scale *= 0.95) {
    const side = (pixels: number) => Math.max(factor, Math.floor((pixels * scale) / unit) * unit);
    const smaller = ({ width, height }: Size): Size => ({ width: side(width), height: side(height) });
    const { hires } = options;
    const scaled: WholeOptions = {
      ...options,
      ...smaller(options),
      ...(hires && { hires: { ...hires, ...smaller(hires) } }),
    };
    if (peakOf({ ...computed, options: scaled }) <= memory || scale < 1e-3) return smaller(hires ?? options);
  }
}

/** Memory that a picture may take, and the words for whose bound that is. */
export interface Memory {
  readonly bytes: number;
  readonly whose: "this machine has" | "memoryLimit allows";
}

/** What this machine has of it, or what a container may take; less where `memoryLimit` says so. */
export function memoryFor(memoryLimit = Number.POSITIVE_INFINITY): Memory {
  const allowed = process.constrainedMemory();
  const bytes = allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
  return memoryLimit < bytes
    ? { bytes: memoryLimit, whose: "memoryLimit allows" }
    : { bytes, whose: "this machine has" };
}

const inGigabytes = (bytes: number): string => `${(bytes / 1e9).toPrecision(2)} GB`;
