import type { Ops, Tensor } from "../ops/ops.js";

/**
 * Factors of FreeU (Si et al. 2023, "FreeU: Free Lunch in Diffusion U-Net"): of what comes up (b) and of the low
 * frequencies of what it is joined with (s), in the first two up blocks. 1 changes nothing.
 */
export interface FreeU {
  readonly b1: number;
  readonly b2: number;
  readonly s1: number;
  readonly s2: number;
}

/** What one up block does to both sides before it joins them. */
export interface JoinFactors {
  readonly backbone: number;
  readonly skip: number;
}

/** Those of an up block, by its place from the lowest resolution; only the first two have some. */
export function joinFactors(freeu: FreeU | undefined, block: number): JoinFactors | undefined {
  if (!freeu || block > 1) return undefined;
  return block === 0 ? { backbone: freeu.b1, skip: freeu.s1 } : { backbone: freeu.b2, skip: freeu.s2 };
}

/** The first half of the channels of x [B, H, W, C], scaled. */
export function scaledBackbone(ops: Ops, x: Tensor, factor: number): Tensor {
  const channels = x.shape[3]!;
  const factors = Array.from({ length: channels }, (_, c) => (c < Math.floor(channels / 2) ? factor : 1));
  return ops.mul(x, ops.constant(factors, [channels]));
}

/**
 * x [B, H, W, C] with its lowest frequencies scaled: those that a centred spectrum has in the 2x2 around its middle, 0
 * and -1 in each direction (`fourier_filter` in diffusers with a threshold of 1). They are few, so that products with
 * their waves cost less than a Fourier transform.
 */
export function scaledLowFrequencies(ops: Ops, x: Tensor, factor: number): Tensor {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const cells = height * width;
  const waves = lowWaves(height, width);
  const analysis = ops.constant(waves.flat(), [waves.length, cells]);
  const change = (factor - 1) / cells;
  const synthesis = ops.constant(
    Array.from(
      { length: cells * waves.length },
      (_, i) => change * waves[i % waves.length]![Math.floor(i / waves.length)]!,
    ),
    [cells, waves.length],
  );
  const changes = Array.from({ length: batch }, (_, i) => {
    const rows = ops.reshape(batch === 1 ? x : ops.slice(x, 0, i, 1), [cells, channels]);
    return ops.reshape(ops.linear(synthesis, ops.linear(analysis, rows)), [1, height, width, channels]);
  });
  return ops.add(x, batch === 1 ? changes[0]! : ops.concat(changes, 0));
}

/** Cosine and sine of each of the frequencies, over all cells: the real part of their share is a sum of both. */
function lowWaves(height: number, width: number): number[][] {
  const frequencies = (side: number) => (side > 1 ? [0, -1] : [0]);
  return frequencies(height).flatMap((fy) =>
    frequencies(width).flatMap((fx) => {
      const phase = (cell: number) =>
        2 * Math.PI * ((fy * Math.floor(cell / width)) / height + (fx * (cell % width)) / width);
      const phases = Array.from({ length: height * width }, (_, cell) => phase(cell));
      return fy === 0 && fx === 0 ? [phases.map(Math.cos)] : [phases.map(Math.cos), phases.map(Math.sin)];
    }),
  );
}
