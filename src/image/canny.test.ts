import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { goldenExtra, readTensors } from "../testing/golden.js";
import { canny } from "./canny.js";

interface Case {
  readonly picture: string;
  readonly channels: 1 | 3;
  readonly low: number;
  readonly high: number;
  readonly l2?: boolean;
  readonly edges: string;
}

const tensors = readTensors(goldenExtra("canny/canny.safetensors"));
const cases = JSON.parse(readFileSync(goldenExtra("canny/cases.json"), "utf8")) as Case[];

describe("canny", () => {
  it.each(cases.map((c) => [c.edges, c.channels, c] as const))(
    "%s (%d channels): OpenCV's, to the bit",
    (_, channels, { picture, low, high, l2, edges }) => {
      const { shape, data } = tensors.get(picture)!;
      const [height, width] = shape as [number, number];
      const colour = Uint8Array.from(data);
      const image = { width, height, data: channels === 3 ? colour : colour.filter((__, i) => i % 3 === 1) };
      const got = canny(image, { low, high, norm: l2 ? "l2" : "l1" });
      expect(got.data).toEqual(Uint8Array.from(tensors.get(edges)!.data));
    },
  );

  it("ignores alpha", () => {
    const { shape, data } = tensors.get("shapes")!;
    const [height, width] = shape as [number, number];
    const rgba = new Uint8Array(width * height * 4);
    for (let i = 0; i < width * height; i++) {
      rgba.set(data.slice(i * 3, i * 3 + 3), i * 4);
      rgba[i * 4 + 3] = (i * 37) % 256;
    }
    expect(canny({ width, height, data: rgba })).toEqual(
      canny({ width, height, data: Uint8Array.from(data) }),
    );
  });

  it("refuses thresholds that are none", () => {
    const image = { width: 1, height: 1, data: Uint8Array.of(1) };
    expect(() => canny(image, { low: -1 })).toThrow(/canny's low must be .* got -1/);
    expect(() => canny(image, { high: Number.NaN })).toThrow(/canny's high/);
  });
});
