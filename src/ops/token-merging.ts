import type { Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";

/** What `Ops.matchRows` says, as nodes: argmax and sort on [S, D] similarities. */
export function matchRows(w: NodeWriter, sources: Node, destinations: Node, merged: number): Node[] {
  const count = sources.shape[0]!;
  const left = count - merged;
  const scores = w.matmul(unitRows(w, sources), unitRows(w, destinations), true);
  const along = { T: { type: scores.type }, Tidx: { type: "DT_INT32" } } as const;
  const best = w.emit("ArgMax", [scores, w.int(1)], [count], "DT_INT32", {
    ...along,
    output_type: { type: "DT_INT32" },
  });
  const likeness = w.emit("Max", [scores, w.int(1)], [count], scores.type, {
    ...along,
    keep_dims: { bool: false },
  });
  const top = w.emit("TopKV2", [likeness, w.int(count)], [count], scores.type, {
    T: { type: scores.type },
    sorted: { bool: true },
  });
  const order: Node = { name: `${top.name}:1`, shape: [count], type: "DT_INT32" };
  const gone = w.slice(order, [0], [merged]);
  const target = w.gather(best, gone);
  const places = w.concat(
    [w.elementwise("AddV2", [target, w.int(left)], [merged]), w.ints(...Array(left).keys())],
    0,
    [count],
  );
  const rank = w.emit("InvertPermutation", [order], [count], "DT_INT32", { T: { type: "DT_INT32" } });
  const back = w.gather(places, rank);
  return left === 0 ? [gone, target, back] : [gone, target, back, w.slice(order, [merged], [left])];
}

/** What `Ops.meanInto` says. */
export function meanInto(w: NodeWriter, x: Node, rows: Node, target: Node): Node {
  const count = x.shape[0]!;
  const sum = (values: Node, width: number) =>
    w.emit("UnsortedSegmentSum", [values, target, w.int(count)], [count, width], x.type, {
      T: { type: x.type },
      Tindices: { type: "DT_INT32" },
      Tnumsegments: { type: "DT_INT32" },
    });
  const ones = w.constant(new Float32Array(rows.shape[0]!).fill(1), [rows.shape[0]!, 1]);
  const counts = w.elementwise("AddV2", [sum(ones, 1), w.scalar(1)], [count, 1]);
  const sums = w.elementwise("AddV2", [sum(rows, x.shape[1]!), x], x.shape);
  return w.elementwise("RealDiv", [sums, counts], x.shape);
}

/** Rows of equal length; their products are cosines but for a factor, which the order does not depend on. */
function unitRows(w: NodeWriter, x: Node): Node {
  const square = w.mean(w.elementwise("Square", [x], x.shape), 1);
  return w.elementwise("Mul", [x, w.elementwise("Rsqrt", [square], square.shape)], x.shape);
}
