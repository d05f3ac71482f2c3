import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConditions } from "../generation/conditioning.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import { readUpscaler } from "../runtime/networks/upscaler.js";
import { goldenExtra } from "../testing/golden.js";
import { load, type Opened } from "./load.js";
import { type Memory, memoryFor, refuseEnlargement, refuseWhatCannotFit } from "./memory.js";

let opened: Opened;
beforeAll(async () => {
  opened = await load("emoji-diffusion-256", {});
});
afterAll(() => opened.engine.dispose());

const machine = (bytes: number): Memory => ({ bytes, whose: "this machine has" });
const check = (options: GenerateOptions, memory: number | Memory) => {
  const { loaded } = opened;
  const resolved = resolveOptions({ prompt: "", ...options }, loaded.traits, { seed: 1, variationSeed: 1 });
  const [{ rows } = { rows: [] }] = readConditions([loaded], resolved);
  const computed = { loaded, options: resolved, rows, controls: [], pictures: [] };
  refuseWhatCannotFit(computed, typeof memory === "number" ? machine(memory) : memory);
};
const refusalOf = (options: GenerateOptions, memory: number | Memory) => {
  try {
    check(options, memory);
  } catch (error) {
    return error as { code: string; message: string; hint: string };
  }
  return undefined;
};

describe("a picture that cannot fit this machine", () => {
  it("is refused with the size that would, which is not refused", () => {
    const refusal = refusalOf({ width: 8192, height: 4096 }, 2e9);
    expect(refusal).toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringMatching(
        /^a picture of 8192x4096 needs about \d+ GB of memory, and this machine has 2\.0 GB$/,
      ),
    });
    const [, width, height] = /^(\d+)x(\d+) would fit$/.exec(refusal!.hint)!.map(Number);
    expect(width! / height!).toBeCloseTo(2, 1);
    check({ width: width!, height: height! }, 2e9);
    expect(width! * height!).toBeGreaterThan(1024 * 512);
  });

  it("counts the second pass, and the half that guidance 1 saves", () => {
    expect(refusalOf({ hires: { scale: 16 } }, 2e9)?.message).toContain("4096x4096");
    const size = { width: 2048, height: 2048 };
    const halfway = 1.2e9;
    expect(refusalOf({ ...size }, halfway)).toBeDefined();
    expect(refusalOf({ ...size, guidance: 1 }, halfway)).toBeUndefined();
  });

  it("needs about what was measured: 0.37 GB more at 1024 than at 64 pixels, and some in this process", () => {
    const size = { width: 1024, height: 1024 };
    expect(refusalOf(size, 0.25e9)).toBeDefined();
    expect(refusalOf(size, 0.5e9)).toBeUndefined();
  });

  it("is refused with a hint of its own where its size follows from another one", () => {
    const { config } = readUpscaler(goldenExtra("upscalers/real-esrgan.pth"));
    const picture = { width: 20000, height: 10000 };
    const goal = { width: 80000, height: 40000 };
    expect(() => refuseEnlargement(config, picture, goal, machine(2e9))).toThrow(
      expect.objectContaining({
        code: "UNSUPPORTED",
        message: expect.stringMatching(/^a picture of 80000x40000 needs about 49 GB of memory/),
        hint: "enlarge a smaller picture, or parts of it",
      }),
    );
    expect(() => refuseEnlargement(config, picture, goal, machine(60e9))).not.toThrow();
  });

  it("goes by memoryLimit where that is less", () => {
    const size = { width: 2048, height: 2048 };
    expect(refusalOf(size, memoryFor(0.5e9))?.message).toMatch(/, and memoryLimit allows 0\.50 GB$/);
    expect(memoryFor(1e15)).toEqual(memoryFor());
  });
});
