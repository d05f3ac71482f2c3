import { DiffusionError, internal } from "../errors.js";
import type { Values } from "./latents.js";

/** [B, H, W, C] of a value with four axes. */
export function axesOf({ shape, data }: Values): {
  batch: number;
  height: number;
  width: number;
  channels: number;
} {
  const [batch, height, width, channels] = shape;
  if (shape.length !== 4 || batch! * height! * width! * channels! !== data.length)
    throw internal(
      `expected [B, H, W, C] with that many numbers, got [${shape.join(", ")}] with ${data.length}`,
    );
  return { batch: batch!, height: height!, width: width!, channels: channels! };
}

/** The batch repeated as a whole until it has `batch` entries: [a, b] becomes [a, b, a, b], as torch's `repeat`. */
export function repeatBatch(values: Values, batch: number): Values {
  const [own = 1, ...rest] = values.shape;
  if (batch % own !== 0) throw internal(`cannot repeat a batch of ${own} to ${batch}`);
  if (own === batch) return values;
  const data = new Float32Array((values.data.length / own) * batch);
  for (let at = 0; at < data.length; at += values.data.length) data.set(values.data, at);
  return { shape: [batch, ...rest], data };
}

/** Some entries of a batch, in the order asked for; each may be asked for more than once. */
export function rowsOf(values: Values, rows: readonly number[]): Values {
  const { shape, data } = values;
  if (rows.length === shape[0] && rows.every((row, i) => row === i)) return values;
  const length = data.length / shape[0]!;
  const out = new Float32Array(length * rows.length);
  for (const [i, row] of rows.entries()) out.set(data.subarray(row * length, (row + 1) * length), i * length);
  return { shape: [rows.length, ...shape.slice(1)], data: out };
}

/**
 * The channels of all parts side by side: what a UNet with extra inputs takes (9 channels for inpainting, 7 for
 * upscaling, 8 for InstructPix2Pix). All have the same height and width; smaller batches are repeated.
 */
export function concatChannels(parts: readonly Values[]): Values {
  const axes = parts.map(axesOf);
  const batch = Math.max(...axes.map((a) => a.batch));
  const { height, width } = axes[0]!;
  if (axes.some((a) => a.height !== height || a.width !== width))
    throw new DiffusionError(
      "LAYER_SHAPE",
      `inputs to join must have the same height and width, got ${parts.map((p) => `[${p.shape.join(", ")}]`).join(", ")}`,
    );
  const channels = axes.reduce((sum, a) => sum + a.channels, 0);
  const data = new Float32Array(batch * height * width * channels);
  let offset = 0;
  for (const [i, part] of parts.entries()) {
    const own = axes[i]!.channels;
    const from = repeatBatch(part, batch).data;
    for (let cell = 0; cell < batch * height * width; cell++)
      for (let c = 0; c < own; c++) data[cell * channels + offset + c] = from[cell * own + c]!;
    offset += own;
  }
  return { shape: [batch, height, width, channels], data };
}
