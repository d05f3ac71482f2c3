import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { StableDiffusion, unload } from "../../index.js";
import { goldenExtra, goldenPath } from "../../testing/golden.js";
import { writeTinyRefiner } from "../../testing/tiny-refiner.js";
import { makerOf, refinerOf } from "./refiner.js";

const folder = mkdtempSync(join(tmpdir(), "cli-refiner-"));
afterAll(async () => {
  await unload();
  rmSync(folder, { recursive: true });
});

describe("--refiner", () => {
  test("hands over at 0.8 of the noise schedule, or where --refiner-switch says, which means nothing alone", () => {
    expect(refinerOf({})).toBeUndefined();
    expect(refinerOf({ refiner: "r" })).toEqual({ model: "r", switchAt: 0.8 });
    expect(refinerOf({ refiner: "r", refinerSwitch: 0.6 })).toEqual({ model: "r", switchAt: 0.6 });
    expect(() => refinerOf({ refinerSwitch: 0.6 })).toThrow("--refiner-switch needs --refiner");
  });

  test("makes what two models make that are called by hand, whatever the first one's file was said to be", async () => {
    const base = goldenPath("models/tiny-sdxl");
    const model = writeTinyRefiner(join(folder, "tiny-refiner"));
    const how = { runtime: "eager", threads: 1 } as const;
    const { prompt, size } = JSON.parse(readFileSync(goldenExtra("refiner/cases.json"), "utf8")) as {
      prompt: string;
      size: number;
    };
    const asked = { prompt, seed: 3, steps: 4, width: size, height: size };
    const steps: number[] = [];
    const made = await makerOf({ model, switchAt: 0.5 })({
      ...asked,
      ...how,
      model: base,
      prediction: "epsilon",
      onProgress: (event) => {
        if (event.type === "step") steps.push(event.step);
      },
    });

    await using first = await StableDiffusion.load(base, how);
    const begun = await first.generate({ ...asked, denoisingEnd: 0.5, output: "latents" });
    await using second = await StableDiffusion.load(model, how);
    const finished = await second.generate({ ...asked, latents: begun.latents, denoisingStart: 0.5 });
    expect(made.images[0]!.data).toEqual(finished.images[0]!.data);
    expect(steps).toEqual([1, 2, 3, 4]);
  });
});
