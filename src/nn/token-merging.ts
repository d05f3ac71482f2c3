import type { Ops, Tensor } from "../ops/ops.js";

/** Pixels that tokens stand for, and the share of them that is merged into others, at most 0.75. */
export interface TokenGrid {
  readonly height: number;
  readonly width: number;
  readonly ratio: number;
}

export interface MergedTokens {
  /** [B, T, C] to fewer tokens. */
  merge(y: Tensor): Tensor;
  /** Back to [B, T, C]: those that were merged get what they were merged into. */
  unmerge(y: Tensor): Tensor;
}

/**
 * Token merging for Stable Diffusion (Bolya and Hoffman 2023, "Token Merging for Fast Stable Diffusion", sections 3
 * and 4.1): the first of each 2x2 pixels is a destination, the other tokens are sources; the `ratio` of all tokens
 * that are most like a destination are merged into it, as a mean. Nothing where there is no whole 2x2.
 *
 * @param x [B, height * width, C], by which tokens are compared
 */
export function mergedTokens(ops: Ops, x: Tensor, grid: TokenGrid): MergedTokens | undefined {
  const { sources, destinations } = split(grid);
  const tokens = x.shape[1]!;
  const merged = Math.min(sources.length, Math.floor(tokens * grid.ratio));
  if (destinations.length === 0 || merged === 0) return undefined;
  const ids = (values: readonly number[]) => ops.constant(values, [values.length], "int32");
  const left = sources.length - merged;
  const matches = samples(ops, x).map((sample) =>
    ops.matchRows(ops.gather(sample, ids(sources)), ops.gather(sample, ids(destinations)), merged),
  );
  return {
    merge: (y) =>
      together(
        ops,
        samples(ops, y).map((sample, i) => {
          const [gone, target, , kept] = matches[i]!;
          const from = ops.gather(sample, ids(sources));
          const into = ops.gather(sample, ids(destinations));
          const means = ops.meanInto(into, ops.gather(from, gone!), target!);
          return kept ? ops.concat([ops.gather(from, kept), means], 0) : means;
        }),
      ),
    unmerge(y) {
      // Sources and destinations as they lie in the picture.
      const places = new Array<number>(tokens);
      for (const [i, pixel] of [...sources, ...destinations].entries()) places[pixel] = i;
      const parts = samples(ops, y).map((sample, i) => {
        const own = ids(destinations.map((_, place) => left + place));
        const all = ops.concat([ops.gather(sample, matches[i]![2]!), ops.gather(sample, own)], 0);
        return ops.gather(all, ids(places));
      });
      return together(ops, parts);
    },
  };
}

/** The rows of a batch, each as [T, C]. */
const samples = (ops: Ops, x: Tensor): Tensor[] => {
  const [batch, ...rest] = x.shape as [number, number, number];
  return ops.split(x, batch, 0).map((sample) => ops.reshape(sample, rest));
};

function together(ops: Ops, parts: readonly Tensor[]): Tensor {
  const batches = parts.map((part) => ops.reshape(part, [1, ...part.shape]));
  return batches.length === 1 ? batches[0]! : ops.concat(batches, 0);
}

function split({ height, width }: TokenGrid): { sources: number[]; destinations: number[] } {
  const [sources, destinations] = [[] as number[], [] as number[]];
  const [rows, columns] = [height - (height % 2), width - (width % 2)];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const isFirst = y % 2 === 0 && x % 2 === 0 && y < rows && x < columns;
      (isFirst ? destinations : sources).push(y * width + x);
    }
  return { sources, destinations };
}
