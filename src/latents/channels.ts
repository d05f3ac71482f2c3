import { DiffusionError, internal } from "../errors.js";
import { repeatBatch } from "./batch.js";
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
