import { describe, expect, it } from "vitest";
import { canny } from "./canny.js";
import { flatten } from "./convert.js";
import { type Preprocessor, preprocess } from "./preprocess.js";

const grey = (...levels: number[]) => ({
  width: levels.length,
  height: 1,
  data: Uint8Array.from(levels.flatMap((level) => [level, level, level])),
});

describe("preprocess", () => {
  it("turns drawings of dark lines to white on black", () => {
    expect(preprocess(grey(0, 10, 255), ["invert"])).toEqual(grey(255, 245, 0));
  });

  it("spreads depths over all levels, and leaves a plain picture", () => {
    expect(preprocess(grey(50, 100, 75), ["depth"])).toEqual(grey(0, 255, 128));
    expect(preprocess(grey(9, 9), ["depth"])).toEqual(grey(9, 9));
  });

  it("takes one step after the other, each with its options", () => {
    expect(preprocess(grey(50, 100, 75), ["depth", "invert"])).toEqual(grey(255, 0, 127));
    const picture = {
      width: 8,
      height: 8,
      data: Uint8Array.from({ length: 192 }, (_, i) => (i % 24 < 12 ? 20 : 60)),
    };
    expect(preprocess(picture, ["canny"])).toEqual(flatten(canny(picture)));
    const sharp = preprocess(picture, [{ name: "canny", low: 20, high: 100 }]);
    expect(sharp).toEqual(flatten(canny(picture, { low: 20, high: 100 })));
    expect(sharp.data.includes(255)).toBe(true);
  });

  it("leaves pictures without preprocessors alone, and refuses unknown ones", () => {
    expect(preprocess(grey(1, 2), [])).toEqual(grey(1, 2));
    expect(() => preprocess(grey(1), ["pose" as Preprocessor])).toThrow(/no preprocessor pose/);
  });
});
