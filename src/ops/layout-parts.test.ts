import { describe, expect, test } from "vitest";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  widenedBfloat16,
  widenedFloat16,
} from "../weights/formats/float16.js";
import { toTensorFlow, viewShape, type WeightView } from "./layout.js";
import { layoutParts, type StoredValues } from "./layout-parts.js";

/** Finite patterns of both signs: of NaN the payload depends on how the engine moves it. */
const patternsOf = (shape: readonly number[]) =>
  Uint16Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i * 40503 + 977) & 0xbfff);

const bitsOf = ({ buffer, byteOffset, length }: Float32Array) => new Uint32Array(buffer, byteOffset, length);

/** Whether all bits agree; a list of half a million differences helps nobody. */
const isSame = (a: Float32Array, b: Float32Array) =>
  a.length === b.length && Buffer.from(a.buffer).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

/** As many values as there are places must come. */
function joined(
  layOut: ReturnType<typeof layoutParts>,
  values: StoredValues,
  shape: readonly number[],
  view: WeightView,
): Float32Array {
  const length = viewShape(shape, view).reduce((a, b) => a * b, 1);
  const whole = new Float32Array(length);
  let taken = 0;
  layOut(values, shape, view, (part, at) => {
    bitsOf(whole).set(bitsOf(part), at);
    taken += part.length;
  });
  expect(taken).toBe(length);
  return whole;
}

const kernel = [70, 33, 3, 3];
/** More than are laid over at a time, with a rest. */
const large = [130, 600, 3, 3];
const cases: [readonly number[], WeightView][] = [
  ...[kernel, large].flatMap((shape) =>
    (["kernel", "matrix", "winograd", "winograd4", "upsampled", "upsampled-winograd", "turned"] as const).map(
      (layout): [readonly number[], WeightView] => [shape, { layout }],
    ),
  ),
  [[3, 40, 2, 5], { layout: "turned" }],
  [[33, 70], { layout: "matrix" }],
  [[300, 700], { layout: "matrix", columns: [100, 250] }],
  [[300, 700], { layout: "rows" }],
  [[300, 700], { layout: "rows", columns: [100, 250] }],
  [[300, 700], { layout: "same" }],
  [[300], { layout: "same", columns: [100, 250] }],
  [[40000, 3], { layout: "matrix" }],
];

describe("piece by piece comes what toTensorFlow gives at once, bit by bit", () => {
  const layOut = layoutParts();
  test.each(cases)("[%s], %o", (shape, view) => {
    const patterns = patternsOf(shape);
    const wide = bfloat16ToFloat32(patterns);
    const whole = toTensorFlow(wide.slice(), shape, view);
    expect(isSame(joined(layOut, wide, shape, view), whole)).toBe(true);
    const halves = { patterns, widened: widenedBfloat16() };
    expect(isSame(joined(layOut, halves, shape, view), whole)).toBe(true);
  });

  test("float16", () => {
    const [shape, view] = [[70, 33], { layout: "matrix" }] as const;
    const patterns = patternsOf(shape);
    const got = joined(layOut, { patterns, widened: widenedFloat16() }, shape, view);
    expect(isSame(got, toTensorFlow(float16ToFloat32(patterns), shape, view))).toBe(true);
  });
});
