import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import { type PartValues, plainMatMul, planDelta } from "./lora-delta.js";
import type { LoraPart } from "./lora-keys.js";

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Values that are exact in float32 and in every product here, so that results can be compared exactly. */
const tensor = (shape: readonly number[], seed: number): Values => ({
  shape,
  data: Float32Array.from({ length: count(shape) }, (_, i) => ((i * 37 + seed * 101 + 11) % 17) - 8),
});

const at = ({ shape, data }: Values, ...index: number[]): number =>
  data[index.reduce((offset, i, axis) => offset * shape[axis]! + i, 0)]!;

/** Every element [o, i, k] of a result, from a formula. */
function expected(
  [out, channels, ...kernel]: readonly number[],
  element: (o: number, i: number, k: number) => number,
): number[] {
  const values: number[] = [];
  for (let o = 0; o < out!; o++)
    for (let i = 0; i < channels!; i++) for (let k = 0; k < count(kernel); k++) values.push(element(o, i, k));
  return values;
}

const sum = (n: number, term: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < n; i++) total += term(i);
  return total;
};

function compute(shapes: { readonly [part in LoraPart]?: readonly number[] }, target: readonly number[]) {
  const parts: PartValues = Object.fromEntries(
    Object.entries(shapes).map(([part, shape], i) => [part, tensor(shape, i)]),
  );
  const plan = planDelta(shapes, target);
  const result = plan?.compute(parts, plainMatMul, tensor(target, 9).data);
  return { plan, parts, result: result && [...result] };
}

/** A view of a kernel [.., kh, kw] with one index for both. */
const flat = (values: Values): Values => ({
  data: values.data,
  shape: [values.shape[0]!, values.shape[1]!, count(values.shape.slice(2))],
});

const linear = [6, 10];
const conv = [6, 10, 3, 3];
const oblong = [4, 6, 3, 2];
const point = [6, 10, 1, 1];

describe("LoRA and LoCon", () => {
  it.each([
    ["linear", linear, [2, 10], [6, 2]],
    ["linear factors for a 1x1 kernel", point, [2, 10], [6, 2]],
    ["1x1 factors for a linear layer", linear, [2, 10, 1, 1], [6, 2, 1, 1]],
    ["kernel in down", conv, [2, 10, 3, 3], [6, 2, 1, 1]],
    ["kernel in down, not square", oblong, [2, 6, 3, 2], [4, 2, 1, 1]],
  ])("%s", (_, target, downShape, upShape) => {
    const { plan, parts, result } = compute({ down: downShape, up: upShape }, target);
    const kernel = count(target.slice(2));
    const [down, up] = [flat(parts.down!), flat(parts.up!)];
    expect(plan).toMatchObject({ method: "lora", rank: 2 });
    expect(result).toEqual(
      expected(target, (o, i, k) =>
        sum(2, (r) => at(up, o, r, 0) * down.data[(r * target[1]! + i) * kernel + k]!),
      ),
    );
  });

  it("kernel in up", () => {
    const { parts, result } = compute({ down: [2, 6, 1, 1], up: [4, 2, 3, 2] }, oblong);
    const [down, up] = [flat(parts.down!), flat(parts.up!)];
    expect(result).toEqual(expected(oblong, (o, i, k) => sum(2, (r) => at(up, o, r, k) * at(down, r, i, 0))));
  });

  it("kernel between (mid), with two ranks", () => {
    const { plan, parts, result } = compute(
      { down: [2, 6, 1, 1], up: [4, 3, 1, 1], mid: [3, 2, 3, 2] },
      oblong,
    );
    const [down, up, mid] = [flat(parts.down!), flat(parts.up!), flat(parts.mid!)];
    expect(plan?.rank).toBe(2);
    expect(result).toEqual(
      expected(oblong, (o, i, k) =>
        sum(3, (p) => sum(2, (q) => at(up, o, p, 0) * at(mid, p, q, k) * at(down, q, i, 0))),
      ),
    );
  });
});

describe("LoHa", () => {
  const matrix = (a: Values, b: Values, o: number, column: number) =>
    sum(3, (r) => at(a, o, r) * at(b, r, column));

  it.each([
    ["linear", linear],
    ["convolution", oblong],
  ])("%s", (_, target) => {
    const inner = count(target.slice(1));
    const [a, b] = [
      [target[0]!, 3],
      [3, inner],
    ];
    const { plan, parts, result } = compute(
      { hada_w1_a: a, hada_w1_b: b, hada_w2_a: a, hada_w2_b: b },
      target,
    );
    const kernel = count(target.slice(2));
    expect(plan).toMatchObject({ method: "loha", rank: 3 });
    expect(result).toEqual(
      expected(target, (o, i, k) => {
        const column = i * kernel + k;
        return (
          matrix(parts.hada_w1_a!, parts.hada_w1_b!, o, column) *
          matrix(parts.hada_w2_a!, parts.hada_w2_b!, o, column)
        );
      }),
    );
  });

  it("Tucker: t with both sides", () => {
    const [a, b, t] = [
      [2, 4],
      [2, 6],
      [2, 2, 3, 2],
    ];
    const { parts, result } = compute(
      { hada_w1_a: a, hada_w1_b: b, hada_t1: t, hada_w2_a: a, hada_w2_b: b, hada_t2: t },
      oblong,
    );
    const half = (n: "1" | "2", o: number, i: number, k: number) => {
      const core = flat(parts[`hada_t${n}`]!);
      return sum(2, (p) =>
        sum(
          2,
          (q) => at(core, p, q, k) * at(parts[`hada_w${n}_b`]!, q, i) * at(parts[`hada_w${n}_a`]!, p, o),
        ),
      );
    };
    expect(result).toEqual(expected(oblong, (o, i, k) => half("1", o, i, k) * half("2", o, i, k)));
  });
});

describe("LoKr", () => {
  it.each([
    ["both whole, linear", linear, { lokr_w1: [2, 5], lokr_w2: [3, 2] }, undefined],
    ["both whole, convolution", oblong, { lokr_w1: [2, 3], lokr_w2: [2, 2, 3, 2] }, undefined],
    ["left is a product", linear, { lokr_w1_a: [2, 1], lokr_w1_b: [1, 5], lokr_w2: [3, 2] }, 1],
    ["right is a product", linear, { lokr_w1: [2, 5], lokr_w2_a: [3, 4], lokr_w2_b: [4, 2] }, 4],
    [
      "right is a product, convolution",
      oblong,
      { lokr_w1: [2, 3], lokr_w2_a: [2, 4], lokr_w2_b: [4, 12] },
      4,
    ],
    [
      "right is Tucker",
      oblong,
      { lokr_w1: [2, 3], lokr_w2_a: [4, 2], lokr_w2_b: [4, 2], lokr_t2: [4, 4, 3, 2] },
      4,
    ],
  ])("%s", (_, target, shapes: { [part in LoraPart]?: number[] }, rank) => {
    const { plan, parts, result } = compute(shapes, target);
    const [out = 0, channels = 0] = target;
    const kernel = count(target.slice(2));
    const left = (o: number, i: number) =>
      parts.lokr_w1 ? at(parts.lokr_w1, o, i) : at(parts.lokr_w1_a!, o, 0) * at(parts.lokr_w1_b!, 0, i);
    const [out1, in1] = [2, parts.lokr_w1?.shape[1] ?? 5];
    const [out2, in2] = [out / out1, channels / in1];
    const right = (o: number, i: number, k: number): number => {
      const { lokr_w2: w, lokr_w2_a: a, lokr_w2_b: b, lokr_t2: t } = parts;
      if (w) return w.data[(o * in2 + i) * kernel + k]!;
      if (t) return sum(4, (p) => sum(4, (q) => at(flat(t), p, q, k) * at(b!, q, i) * at(a!, p, o)));
      return sum(4, (r) => at(a!, o, r) * b!.data[(r * in2 + i) * kernel + k]!);
    };
    expect(plan).toMatchObject({ method: "lokr" });
    expect(plan?.rank).toBe(rank);
    expect(result).toEqual(
      expected(
        target,
        (o, i, k) => left(Math.floor(o / out2), Math.floor(i / in2)) * right(o % out2, i % in2, k),
      ),
    );
  });
});

describe("factors that do not fit", () => {
  it.each([
    ["down alone", linear, { down: [2, 10] }],
    ["another width", linear, { down: [2, 12], up: [6, 2] }],
    ["another height", linear, { down: [2, 10], up: [8, 2] }],
    ["different ranks", linear, { down: [2, 10], up: [6, 3] }],
    ["rank 0", linear, { down: [0, 10], up: [6, 0] }],
    ["kernels in both", conv, { down: [2, 10, 3, 3], up: [6, 2, 3, 3] }],
    ["another kernel", conv, { down: [2, 10, 5, 5], up: [6, 2, 1, 1] }],
    ["a kernel turned", oblong, { down: [2, 6, 1, 1], up: [4, 2, 2, 3] }],
    ["half a LoHa", linear, { hada_w1_a: [6, 2], hada_w1_b: [2, 10] }],
    ["a LoKr that does not divide", linear, { lokr_w1: [4, 5], lokr_w2: [3, 2] }],
    ["a LoKr with a side missing", linear, { lokr_w1: [2, 5], lokr_w2_a: [3, 2] }],
    ["only an alpha", linear, { alpha: [] }],
    ["a GLoRA without its second half", linear, { glora_a1: [10, 2], glora_a2: [2, 10] }],
    [
      "a GLoRA of another width",
      linear,
      { glora_a1: [6, 2], glora_a2: [2, 6], glora_b1: [6, 2], glora_b2: [2, 10] },
    ],
    ["an IA3 for neither side", linear, { ia3: [7], on_input: [] }],
    ["a difference of another size", linear, { diff: [6, 9] }],
    ["a LoRA for a norm", [6], { down: [2, 6], up: [6, 2] }],
  ])("%s", (_, target, shapes) => {
    expect(planDelta(shapes, target)).toBeUndefined();
  });

  it("whatever the shapes: no plan, or a plan whose result has the target's size", () => {
    const side = fc.constantFrom(1, 2, 3, 4, 6);
    const shape = fc.oneof(fc.tuple(side, side), fc.tuple(side, side, side, side), fc.tuple(side));
    const parts = [
      ["down", "up", "mid"],
      ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"],
      ["lokr_w1", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"],
      ["glora_a1", "glora_a2", "glora_b1", "glora_b2", "glora_bm"],
      ["ia3", "on_input"],
      ["diff", "bias_diff", "up_bias"],
    ];
    const shapes = fc
      .constantFrom(...parts)
      .chain((names) =>
        fc.record(Object.fromEntries(names.map((name) => [name, shape])), { requiredKeys: [] }),
      );
    fc.assert(
      fc.property(
        shapes,
        fc.tuple(side, side, side, side),
        fc.constantFrom(1, 2, 4),
        (given, target, rank) => {
          const goal = target.slice(0, rank);
          const { plan, result } = compute(given, goal);
          if (!plan) return;
          expect(result).toHaveLength(count(goal));
          expect(result?.every(Number.isFinite)).toBe(true);
        },
      ),
      { numRuns: 6000 },
    );
  });
});
