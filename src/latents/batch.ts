import { internal } from "../errors.js";
import type { Values } from "./latents.js";

/* Values of which the first axis counts entries: pictures, or conditions. */

/** Several as one, their entries one after the other. All but the first axis are alike. */
export function batched(values: readonly Values[]): Values {
  const [first] = values;
  const data = new Float32Array(values.reduce((sum, { data }) => sum + data.length, 0));
  let offset = 0;
  for (const value of values) {
    data.set(value.data, offset);
    offset += value.data.length;
  }
  const entries = values.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return { shape: [entries, ...first!.shape.slice(1)], data };
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
