import type { Node, NodeType } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";

export interface AttentionForm {
  readonly heads: number;
  readonly causal: boolean;
  /** Type that products compute in. */
  readonly compute: NodeType;
}

/** Scores are computed in blocks of about this many bytes, so that they stay in the cache (bench/NOTES.md). */
const BLOCK_BYTES = 8 << 20;

/** Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of q [B, T, C], k [B, S, C] and v [B, S, D], to [B, T, D]. */
export function attend(
  w: NodeWriter,
  [q, k, v]: readonly [Node, Node, Node],
  { heads, causal, compute }: AttentionForm,
): Node {
  const [batch, rows, width] = q.shape as [number, number, number];
  const [columns, depth] = [k.shape[1]!, v.shape[2]!];
  // Queries or keys are scaled, whichever are fewer.
  const scaled = (x: Node): Node => w.elementwise("Mul", [x, w.scalar((width / heads) ** -0.5)], x.shape);
  const given = columns < rows ? [q, scaled(k), v] : [scaled(q), k, v];
  const [qs, ks, vs] = given.map((x) => byHead(w, w.cast(x, compute), heads)) as [Node, Node, Node];
  const isSmall = batch * heads * rows * columns * 4 <= BLOCK_BYTES;
  const mixed = isSmall || causal ? atOnce(w, qs, ks, vs, causal) : inBlocks(w, qs, ks, vs);
  const joined = heads === 1 ? mixed : w.transpose(mixed, [0, 2, 1, 3]);
  return w.reshape(joined, [batch, rows, depth]);
}

/** [B, T, C] to [B, heads, T, C / heads]. */
function byHead(w: NodeWriter, x: Node, heads: number): Node {
  const [b, n, c] = x.shape as [number, number, number];
  if (heads === 1) return w.reshape(x, [b, 1, n, c]);
  return w.transpose(w.reshape(x, [b, n, heads, c / heads]), [0, 2, 1, 3]);
}

function atOnce(w: NodeWriter, q: Node, k: Node, v: Node, isCausal: boolean): Node {
  const scores = w.cast(w.batchMatmul(q, k, true), "DT_FLOAT");
  const seen = isCausal ? w.elementwise("AddV2", [scores, causalMask(w, q.shape[2]!)], scores.shape) : scores;
  return w.cast(w.batchMatmul(w.cast(w.softmax(seen), q.type), v), "DT_FLOAT");
}

/** Head by head, one after the other. */
function inBlocks(w: NodeWriter, q: Node, k: Node, v: Node): Node {
  const [batch, heads, rows] = q.shape as [number, number, number];
  const depth = v.shape[3]!;
  const most = rowsPerBlock(k.shape[2]!);
  const mixed: Node[] = [];
  for (let head = 0; head < batch * heads; head++) {
    const begin = [Math.floor(head / heads), head % heads, 0, 0];
    const ofHead = [q, k, v].map((x) => {
      const [length, width] = x.shape.slice(2) as [number, number];
      return w.reshape(w.slice(x, begin, [1, 1, length, width], mixed.at(-1)), [length, width]);
    });
    mixed.push(rows <= most ? attendHead(w, ofHead) : w.call("attention", ofHead, attendHead));
  }
  return w.reshape(w.concat(mixed, 0, [batch * heads * rows, depth]), [batch, heads, rows, depth]);
}

/** Block of queries by block, so that the scores of one block fit the cache: q [T, C], k [S, C] and v [S, D] to [T, D]. */
function attendHead(w: NodeWriter, [q, k, v]: readonly Node[]): Node {
  const [rows, width] = q!.shape as [number, number];
  const [columns, depth] = v!.shape as [number, number];
  const most = rowsPerBlock(columns);
  const blocks: Node[] = [];
  for (let from = 0; from < rows; from += most) {
    const block = w.slice(q!, [from, 0], [Math.min(most, rows - from), width]);
    const weights = w.softmax(w.cast(w.matmul(block, k!, true), "DT_FLOAT"));
    blocks.push(w.cast(w.matmul(w.cast(weights, q!.type), v!), "DT_FLOAT"));
  }
  return w.concat(blocks, 0, [rows, depth]);
}

const rowsPerBlock = (columns: number): number => Math.max(1, Math.floor(BLOCK_BYTES / (columns * 4)));

/** 0 where position i may see position j <= i, a number that softmax turns into 0 elsewhere. */
function causalMask(w: NodeWriter, length: number): Node {
  const values = Float32Array.from({ length: length ** 2 }, (_, i) =>
    i % length > Math.floor(i / length) ? -1e30 : 0,
  );
  return w.constant(values, [1, 1, length, length]);
}
