/** Plain numbers with a shape, NHWC. Tensors never leave `runtime/`; everywhere else numbers look like this. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Latents of a batch: [batch, height / factor, width / factor, channels], in the UNet's (scaled) space. */
export interface Latents extends Values {
  /** How the model that made them scales its latents, in words; a model of another scaling refuses to go on from them. */
  readonly scaling?: string;
}

/** How many numbers a shape holds. */
export const size = (shape: readonly number[]): number =>
  shape.reduce((product, extent) => product * extent, 1);

/** Numbers drawn in torch's order [B, C, H, W] as [B, H, W, C], the layout of everything here. */
export function fromNchw(
  data: Float32Array,
  [batch, height, width, channels]: readonly number[],
): Float32Array {
  const out = new Float32Array(data.length);
  const cells = height! * width!;
  for (let b = 0; b < batch!; b++)
    for (let c = 0; c < channels!; c++)
      for (let i = 0; i < cells; i++)
        out[(b * cells + i) * channels! + c] = data[(b * channels! + c) * cells + i]!;
  return out;
}
