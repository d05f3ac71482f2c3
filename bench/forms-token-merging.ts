import type { Node } from "../src/ops/graph-def.js";
import type { NodeWriter } from "../src/ops/node-writer.js";
import { headBlocks } from "./forms-attention.js";
import { type Form, type Race, randomWeight } from "./race.js";

/** Self-attention with its four projections over side x side pixels. */
interface Layer {
  readonly side: number;
  readonly heads: number;
  readonly width: number;
}

const megabyte = 2 ** 20;

function attend(w: NodeWriter, tokens: Node, { heads, width }: Layer): Node {
  const [rows, channels] = tokens.shape as [number, number];
  const project = (name: string, x: Node) => w.matmul(x, randomWeight(w, [channels, channels], name));
  const [q, k, v] = ["q", "k", "v"].map((name) => w.reshape(project(name, tokens), [1, rows, channels])) as [
    Node,
    Node,
    Node,
  ];
  const mixed = headBlocks({ batch: 1, rows, heads, width }, 4 * megabyte).write(w, [q, k, v]);
  return project("o", w.reshape(mixed, [rows, channels]));
}

const unary = (w: NodeWriter, op: string, x: Node): Node => w.elementwise(op, [x], x.shape);

/** Rows of unit length. */
function normalized(w: NodeWriter, x: Node): Node {
  const squares = w.mean(unary(w, "Square", x), 1);
  return w.elementwise("Mul", [x, unary(w, "Rsqrt", squares)], x.shape);
}

/** Tokens of each 2x2 pixels: the first is a destination, the others are sources. */
function grid(side: number) {
  const [sources, destinations] = [[] as number[], [] as number[]];
  for (let i = 0; i < side ** 2; i++)
    (Math.floor(i / side) % 2 === 0 && i % 2 === 0 ? destinations : sources).push(i);
  return { sources, destinations };
}

interface Merging {
  readonly merge: (x: Node) => Node;
  readonly unmerge: (x: Node) => Node;
}

/**
 * Token merging for Stable Diffusion (Bolya and Hoffman 2023, section 3 and 4.1): the `ratio` of all tokens that are
 * most like a destination becomes part of it, as a mean; after the layer each gets the destination's result.
 */
function matching(w: NodeWriter, x: Node, { side }: Layer, ratio: number): Merging {
  const { sources, destinations } = grid(side);
  const [count, into] = [sources.length, destinations.length];
  const merged = Math.min(count, Math.floor(side ** 2 * ratio));
  const left = count - merged;
  const ints = (values: readonly number[]) => w.ints(...values);
  const unit = normalized(w, x);
  const scores = w.matmul(w.gather(unit, ints(sources)), w.gather(unit, ints(destinations)), true);
  const reduce = { T: { type: "DT_FLOAT" }, Tidx: { type: "DT_INT32" } } as const;
  const best = w.emit("ArgMax", [scores, w.int(1)], [count], "DT_INT32", {
    ...reduce,
    output_type: { type: "DT_INT32" },
  });
  const score = w.emit("Max", [scores, w.ints(1)], [count], "DT_FLOAT", {
    ...reduce,
    keep_dims: { bool: false },
  });
  const top = w.emit("TopKV2", [score, w.int(count)], [count], "DT_FLOAT", {
    T: { type: "DT_FLOAT" },
    sorted: { bool: true },
  });
  const order: Node = { name: `${top.name}:1`, shape: [count], type: "DT_INT32" };
  const int = { T: { type: "DT_INT32" } } as const;
  const [gone, kept] = [w.slice(order, [0], [merged]), w.slice(order, [merged], [left])];
  const target = w.gather(best, gone);
  const segments = (values: Node, shape: readonly number[]) =>
    w.emit("UnsortedSegmentSum", [values, target, w.int(into)], shape, "DT_FLOAT", {
      T: { type: "DT_FLOAT" },
      Tindices: { type: "DT_INT32" },
      Tnumsegments: { type: "DT_INT32" },
    });
  const counts = w.elementwise(
    "AddV2",
    [segments(w.constant(new Float32Array(merged).fill(1), [merged, 1]), [into, 1]), w.scalar(1)],
    [into, 1],
  );
  // Where each source is found afterwards: among those left, or behind them at its destination.
  const rank = w.emit("InvertPermutation", [order], [count], "DT_INT32", int);
  const own = w.elementwise("Sub", [rank, w.int(merged)], [count]);
  const shared = w.elementwise("AddV2", [best, w.int(left)], [count]);
  const isGone = w.emit("Less", [rank, w.int(merged)], [count], "DT_INT32", int);
  const place = w.emit("SelectV2", [isGone, shared, own], [count], "DT_INT32", int);
  const all = w.concat([place, ints(destinations.map((_, i) => left + i))], 0, [side ** 2]);
  const asPixels = new Int32Array(side ** 2);
  for (const [i, pixel] of [...sources, ...destinations].entries()) asPixels[pixel] = i;
  const back = w.gather(all, ints([...asPixels]));
  return {
    merge(y) {
      const [a, b] = [w.gather(y, ints(sources)), w.gather(y, ints(destinations))];
      const channels = y.shape[1]!;
      const sums = w.elementwise("AddV2", [segments(w.gather(a, gone), [into, channels]), b], b.shape);
      const means = w.elementwise("RealDiv", [sums, counts], b.shape);
      if (left === 0) return means;
      return w.concat([w.gather(a, kept), means], 0, [left + into, channels]);
    },
    unmerge: (y) => w.gather(y, back),
  };
}

const plain = (layer: Layer): Form => ({
  name: "all tokens (as now)",
  write: (w, [x]) => attend(w, x!, layer),
});

const withMerging = (layer: Layer, ratio: number): Form => ({
  name: `${ratio * 100} % of the tokens merged`,
  write(w, [x]) {
    const { merge, unmerge } = matching(w, x!, layer, ratio);
    return unmerge(attend(w, merge(x!), layer));
  },
});

/** What is to be gained at most: fewer tokens, whichever they are. */
const fewer = (layer: Layer, ratio: number): Form => ({
  name: `${ratio * 100} % of the tokens left out`,
  write(w, [x]) {
    const rows = Math.round(layer.side ** 2 * (1 - ratio));
    return attend(w, w.slice(x!, [0, 0], [rows, x!.shape[1]!]), layer);
  },
});

/** The results differ, as they must; the races are about what it costs. */
export const tokenMerging = (): Race[] =>
  [
    { side: 64, heads: 8, width: 40 },
    { side: 32, heads: 8, width: 80 },
  ].map((layer) => ({
    title: `self-attention with projections, ${layer.side}x${layer.side}x${layer.heads * layer.width}`,
    inputs: [[layer.side ** 2, layer.heads * layer.width]],
    forms: [
      plain(layer),
      withMerging(layer, 0.5),
      withMerging(layer, 0.75),
      fewer(layer, 0.5),
      fewer(layer, 0.75),
    ],
  }));
