import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InvalidArgumentError } from "commander";
import { describe, expect, test } from "vitest";
import { encodePng } from "../image/png.js";
import { readArea } from "./arguments.js";
import { maskOf } from "./jobs.js";

const folder = mkdtempSync(join(tmpdir(), "mask-area-"));
const picture = join(folder, "picture.png");
writeFileSync(picture, encodePng({ width: 5, height: 4, data: new Uint8Array(60).fill(90) }));

describe("--mask-area", () => {
  test("is left, top, width and height", () => {
    expect(readArea("1,2,3,1")).toEqual({ left: 1, top: 2, width: 3, height: 1 });
  });

  test.each(["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "-1,0,2,2", "0,0,0,2", "0,0,2,0", "0.5,0,2,2"])(
    "refuses %j",
    (text) => {
      expect(() => readArea(text)).toThrow(InvalidArgumentError);
    },
  );

  test("is white in a black mask of the picture's size", async () => {
    const { width, height, data } = await maskOf({ left: 1, top: 2, width: 3, height: 1 }, picture);
    expect([width, height]).toEqual([5, 4]);
    const rows = Array.from({ length: 4 }, (_, y) =>
      Array.from({ length: 5 }, (_, x) => [...data.subarray(3 * (5 * y + x), 3 * (5 * y + x) + 3)].join()),
    );
    const [no, yes] = ["0,0,0", "255,255,255"];
    const none = [no, no, no, no, no];
    expect(rows).toEqual([none, none, [no, yes, yes, yes, no], none]);
  });

  test("may be all of the picture, and not reach beyond it", async () => {
    const whole = await maskOf({ left: 0, top: 0, width: 5, height: 4 }, picture);
    expect(whole.data.every((value) => value === 255)).toBe(true);
    for (const area of [
      { left: 3, top: 0, width: 3, height: 1 },
      { left: 0, top: 3, width: 1, height: 2 },
    ])
      await expect(maskOf(area, picture)).rejects.toMatchObject({
        code: "BAD_OPTION",
        message: expect.stringContaining("which is 5x4"),
      });
  });
});
