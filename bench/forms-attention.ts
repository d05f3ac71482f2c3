import type { Node } from "../src/ops/graph-def.js";
import type { NodeWriter } from "../src/ops/node-writer.js";
import type { Form, Race } from "./race.js";

/** Self-attention of [batch, rows, heads * width] on itself. */
interface Attention {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly width: number;
}

type Softmax = (w: NodeWriter, scores: Node, values: Node) => Node;

const softmax: Softmax = (w, scores, values) => w.matmul(w.softmax(scores), values);

const scaled = (w: NodeWriter, q: Node, { width }: Attention): Node =>
  w.elementwise("Mul", [q, w.scalar(width ** -0.5)], q.shape);

const byHead = (w: NodeWriter, x: Node, { batch, rows, heads, width }: Attention): Node =>
  w.reshape(w.transpose(w.reshape(x, [batch, rows, heads, width]), [0, 2, 1, 3]), [
    batch * heads,
    rows,
    width,
  ]);

function joinHeads(w: NodeWriter, x: Node, { batch, rows, heads, width }: Attention): Node {
  const apart = w.transpose(w.reshape(x, [batch, heads, rows, width]), [0, 2, 1, 3]);
  return w.reshape(apart, [batch, rows, heads * width]);
}

const whole = (a: Attention): Form => ({
  name: "all heads at once",
  write(w, [q, k, v]) {
    const [qs, ks, vs] = [scaled(w, q!, a), k!, v!].map((x) => byHead(w, x, a)) as [Node, Node, Node];
    return joinHeads(w, w.batchMatmul(w.softmax(w.batchMatmul(qs, ks, true)), vs), a);
  },
});

/** All heads of a block of queries at once: fewer nodes, and scores of `bytes` at a time. */
const queryBlocks = (a: Attention, bytes: number): Form => ({
  name: `all heads, blocks of ${bytes >> 20} MB`,
  write(w, [q, k, v]) {
    const { batch, heads, rows, width } = a;
    const [qs, ks, vs] = [scaled(w, q!, a), k!, v!].map((x) => byHead(w, x, a)) as [Node, Node, Node];
    const most = Math.max(1, Math.floor(bytes / (batch * heads * rows * 4)));
    const blocks: Node[] = [];
    for (let from = 0; from < rows; from += most) {
      const size = Math.min(most, rows - from);
      const block = w.slice(qs, [0, from, 0], [batch * heads, size, width]);
      blocks.push(w.batchMatmul(w.softmax(w.batchMatmul(block, ks, true)), vs));
    }
    return joinHeads(w, w.concat(blocks, 1, [batch * heads, rows, width]), a);
  },
});

/** Head by head, scores of `bytes` at a time: what src/ops/graph.ts writes. */
export const headBlocks = (a: Attention, bytes: number, soften = softmax, name = ""): Form => ({
  name: name || `head by head, blocks of ${bytes / 2 ** 20} MB`,
  write(w, [q, k, v]) {
    const { batch, heads, rows, width } = a;
    const [qs, ks, vs] = [scaled(w, q!, a), k!, v!].map((x) => byHead(w, x, a)) as [Node, Node, Node];
    const most = Math.max(1, Math.floor(bytes / (rows * 4)));
    const blocks: Node[] = [];
    for (let head = 0; head < batch * heads; head++) {
      const part = (x: Node, from: number, size: number) =>
        w.reshape(w.slice(x, [head, from, 0], [1, size, width]), [size, width]);
      const [keys, values] = [part(ks, 0, rows), part(vs, 0, rows)];
      for (let from = 0; from < rows; from += most) {
        const block = part(qs, from, Math.min(most, rows - from));
        blocks.push(soften(w, w.matmul(block, keys, true), values));
      }
    }
    return joinHeads(w, w.concat(blocks, 0, [batch * heads * rows, width]), a);
  },
});

/** Heads cut from the rows as they lie, without transposes; the results side by side again by concatenation. */
const headSlices = (a: Attention, bytes: number): Form => ({
  name: `heads cut out and joined, blocks of ${bytes >> 20} MB`,
  write(w, [q, k, v]) {
    const { batch, heads, rows, width } = a;
    const query = scaled(w, q!, a);
    const most = Math.max(1, Math.floor(bytes / (rows * 4)));
    const images = Array.from({ length: batch }, (_, b) => {
      const columns = Array.from({ length: heads }, (_, head) => {
        const part = (x: Node, from: number, size: number) =>
          w.reshape(w.slice(x, [b, from, head * width], [1, size, width]), [size, width]);
        const [keys, values] = [part(k!, 0, rows), part(v!, 0, rows)];
        const blocks: Node[] = [];
        for (let from = 0; from < rows; from += most) {
          const block = part(query, from, Math.min(most, rows - from));
          blocks.push(softmax(w, w.matmul(block, keys, true), values));
        }
        return blocks.length === 1 ? blocks[0]! : w.concat(blocks, 0, [rows, width]);
      });
      return heads === 1 ? columns[0]! : w.concat(columns, 1, [rows, heads * width]);
    });
    const all = batch === 1 ? images[0]! : w.concat(images, 0, [batch * rows, heads * width]);
    return w.reshape(all, [batch, rows, heads * width]);
  },
});

const withOnes = (w: NodeWriter, values: Node): Node => {
  const [rows, width] = values.shape as [number, number];
  const ones = w.constant(new Float32Array(rows).fill(1), [rows, 1]);
  return w.concat([values, ones], 1, [rows, width + 1]);
};

/** The sum of each row of weights comes out of the product as one more column, and divides at the end. */
function divideLast(w: NodeWriter, weights: Node, values: Node): Node {
  const [rows, width] = [weights.shape[0]!, values.shape[1]!];
  const sums = w.matmul(
    weights,
    w.shared(`with ones ${values.name}`, () => withOnes(w, values)),
  );
  const mixed = w.slice(sums, [0, 0], [rows, width]);
  return w.elementwise("RealDiv", [mixed, w.slice(sums, [0, width], [rows, 1])], mixed.shape);
}

/** Without the largest score taken off: exp overflows above 88, so this is exact only where scores stay below. */
const plainExponential: Softmax = (w, scores, values) =>
  divideLast(w, w.elementwise("Exp", [scores], scores.shape), values);

const rowMaximum = (w: NodeWriter, x: Node): Node =>
  w.emit("Max", [x, w.ints(1)], [x.shape[0]!, 1], x.type, {
    T: { type: x.type },
    Tidx: { type: "DT_INT32" },
    keep_dims: { bool: true },
  });

const maximumOff: Softmax = (w, scores, values) => {
  const less = w.elementwise("Sub", [scores, rowMaximum(w, scores)], scores.shape);
  return divideLast(w, w.elementwise("Exp", [less], less.shape), values);
};

const megabyte = 2 ** 20;

function race(a: Attention): Race {
  const { batch, rows, heads, width } = a;
  const shape = [batch, rows, heads * width];
  const sizes = [1, 2, 4, 8, 16].filter((size) => size * megabyte <= rows * rows * 4);
  const scores = batch * heads * rows * rows * 4;
  return {
    title: `attention ${batch}x${rows}, ${heads} heads of ${width}`,
    inputs: [shape, shape, shape],
    flops: 4 * batch * heads * rows * rows * width,
    forms: [
      headBlocks(a, 4 * megabyte, softmax, "head by head, 4 MB (as src/ops/graph.ts)"),
      ...(scores <= 512 * megabyte ? [whole(a)] : []),
      ...sizes.map((size) => headBlocks(a, size * megabyte)),
      ...[4, 16].filter((size) => size * megabyte < scores).map((size) => queryBlocks(a, size * megabyte)),
      headSlices(a, 4 * megabyte),
      headBlocks(a, 4 * megabyte, plainExponential, "4 MB, exp, ones beside values, division last"),
      headBlocks(a, 4 * megabyte, maximumOff, "4 MB, max, sub, exp, division last"),
    ],
  };
}

export const attentions = (): Race[] =>
  [
    // One picture is enough: heads are independent, and TensorFlow's optimizer takes minutes over thousands of blocks.
    { batch: 1, rows: 4096, heads: 8, width: 40 },
    { batch: 2, rows: 1024, heads: 8, width: 80 },
    { batch: 2, rows: 256, heads: 8, width: 160 },
    { batch: 1, rows: 4096, heads: 1, width: 512 },
  ].map(race);
