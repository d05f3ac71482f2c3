import { afterAll, describe, expect, it } from "vitest";
import type { GenerateOptions } from "../options/options.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const base: GenerateOptions = { prompt: "a fox", steps: 2, guidance: 2, seed: 5, output: "latents" };

const notesOf = async (more: GenerateOptions, name = "models/tiny-sd1") =>
  (await (await tinyModel(name)).generate({ ...base, ...more })).notes;

describe("what has no effect is noted", () => {
  it.each<[string, NonNullable<GenerateOptions["scheduler"]>, string[]]>([
    [
      "AUTOMATIC1111's UniPC",
      { sampler: "UniPC", schedule: "Karras" },
      ["the schedule karras has no effect: UniPC goes its own way from noise to picture"],
    ],
    [
      "DPM fast",
      "dpm_fast_karras",
      ["the schedule karras has no effect: dpm_fast_karras goes its own way from noise to picture"],
    ],
    ["ours", "unipc_karras", []],
    ["none", { sampler: "UniPC", schedule: "Automatic" }, []],
  ])("a schedule: %s", async (_, scheduler, notes) => {
    expect(await notesOf({ scheduler })).toEqual(notes);
  });
});
