import { totalmem } from "node:os";
import { DiffusionError } from "../errors.js";
import type { Loaded } from "../generation/loaded.js";
import type { Size } from "../image/image.js";
import type { ResolvedOptions } from "../options/resolved.js";
import { requirements } from "../runtime/requirements.js";

/**
 * What the process that computes holds at its peak, in bytes for each number that goes into and comes out of the UNet's
 * largest operation: eight times the four of a float. Measured on emoji-diffusion-256 from 512 to 1536 pixels: 7.7 to 9.8
 * times at the larger ones. The lower end, so that nothing is refused that would fit.
 */
const BYTES_HELD = 8 * 4;

/** The picture itself: floats of three channels as they come from the VAE, blended, and before they are bytes. */
const BYTES_PER_PIXEL = 3 * 3 * 4;

/**
 * Refuses a picture that cannot fit, before any work is done. The VAE works in tiles where it has to, and so do
 * upscalers; outpainting works on strips.
 *
 * @param memory that there is, in bytes
 * @throws DiffusionError UNSUPPORTED, with the size that would fit
 */
export function refuseWhatCannotFit(
  loaded: Loaded,
  options: ResolvedOptions,
  memory: Memory = memoryFor(),
): void {
  const { mode, guidance, width, height, hires } = options;
  if (mode === "upscale" || mode === "outpaint") return;
  const rows = mode === "instruct" ? 3 : mode !== "unconditional" && guidance > 1 ? 2 : 1;
  const size = hires ?? { width, height };
  const needed = bytesFor(loaded, size, rows);
  if (needed <= memory.bytes) return;
  const { width: w, height: h } = fitting(loaded, size, rows, memory.bytes);
  throw new DiffusionError(
    "UNSUPPORTED",
    `a picture of ${size.width}x${size.height} needs about ${inGigabytes(needed)} of memory, and ${memory.whose} ${inGigabytes(memory.bytes)}`,
    { hint: `${w}x${h} would fit` },
  );
}

/** An estimate from a dry run, which follows the shapes only. @param rows of the UNet's batch */
function bytesFor({ model, traits }: Loaded, { width, height }: Size, rows: number): number {
  const cells = { batch: rows, height: height / traits.factor, width: width / traits.factor };
  const { unet } = model;
  // Others are upscalers, which work in tiles.
  const { largest = 0 } =
    unet.kind === "unet"
      ? requirements({ ...unet, size: { ...cells, tokens: 77 } })
      : unet.kind === "unconditional_unet"
        ? requirements({ ...unet, size: cells })
        : {};
  return largest * BYTES_HELD + width * height * BYTES_PER_PIXEL;
}

/** The largest size of about the same proportions. */
function fitting(loaded: Loaded, size: Size, rows: number, memory: number): Size {
  const { factor } = loaded.traits;
  const unit = 8 * factor;
  for (let scale = Math.sqrt(memory / bytesFor(loaded, size, rows)); ; scale *= 0.95) {
    const side = (pixels: number) => Math.max(factor, Math.floor((pixels * scale) / unit) * unit);
    const smaller = { width: side(size.width), height: side(size.height) };
    if (bytesFor(loaded, smaller, rows) <= memory || scale < 1e-3) return smaller;
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
