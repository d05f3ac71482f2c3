import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { infotext } from "../options/infotext.js";
import type { GenerateOptions } from "../options/options.js";
import { type Seeding, seedsOfPicture } from "../options/seeds.js";
import { generateRefined } from "../pipeline/refined.js";
import type { GenerateResult } from "../pipeline/run.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { extraCases, type PromptCases } from "../testing/golden.js";
import { patternOf } from "../testing/golden-image.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import { writeTinyRefiner } from "../testing/tiny-refiner.js";

interface Case {
  readonly id: string;
  readonly steps: number;
  readonly guidance: number;
  readonly switch?: number;
  readonly strength?: number;
  readonly score?: number;
  readonly negative_score?: number;
  readonly original?: readonly [height: number, width: number];
  readonly crop?: readonly [top: number, left: number];
}

const { about, expected } = extraCases<PromptCases<Case>>("refiner");

const folder = mkdtempSync(join(tmpdir(), "refiner-"));
const loaded = StableDiffusion.load(writeTinyRefiner(join(folder, "tiny-refiner")), {
  runtime: "eager",
  threads: 1,
});
afterAll(async () => {
  await (await loaded).dispose();
  await disposeTinyModels();
  rmSync(folder, { recursive: true });
});

const optionsOf = (id: string) => {
  const c = about.cases.find((c) => c.id === id)!;
  const { prompt, negativePrompt, seed } = about;
  const { steps, guidance, original, crop } = c;
  const options: GenerateOptions = { prompt, negativePrompt, seed, steps, guidance, output: "latents" };
  return {
    ...options,
    ...(c.strength !== undefined && { image: patternOf(about.size), strength: c.strength }),
    ...(c.score !== undefined && { aestheticScore: c.score }),
    ...(c.negative_score !== undefined && { negativeAestheticScore: c.negative_score }),
    ...(original &&
      crop && {
        sizes: {
          original: { height: original[0], width: original[1] },
          crop: { top: crop[0], left: crop[1] },
        },
      }),
    ...{ share: c.switch },
  };
};

describe("SDXL's refiner, against diffusers", () => {
  it("goes on with the base model's latents where that has stopped", async () => {
    const { share, ...options } = optionsOf("hand-over");
    const base = await tinyModel("models/tiny-sdxl");
    const size = { width: about.size, height: about.size };
    const begun = await base.generate({ ...options, ...size, denoisingEnd: share! });
    const from = expected("hand-over.base");
    expect(begun.latents.data).toBeCloseTo32(from.data, { abs: 1e-3, rel: 1e-3 });
    const refiner = await loaded;
    const refined = await refiner.generate({
      ...options,
      ...size,
      latents: begun.latents,
      denoisingStart: share!,
    });
    expect(refined.latents.data).toBeCloseTo32(expected("hand-over").data, { abs: 2e-3, rel: 1e-3 });
    expect(refined.options).toMatchObject({ aestheticScore: 6, negativeAestheticScore: 2.5 });
  });

  it("does both in one call, which counts the steps of both", async () => {
    const { share, ...options } = optionsOf("hand-over");
    const size = { width: about.size, height: about.size };
    const events: [step: number, steps: number][] = [];
    const made = await generateRefined(await tinyModel("models/tiny-sdxl"), await loaded, {
      ...options,
      ...size,
      switchAt: share!,
      onProgress: (event) => {
        if (event.type === "step") events.push([event.step, event.steps]);
      },
    });
    expect(made.latents.data).toBeCloseTo32(expected("hand-over").data, { abs: 2e-3, rel: 1e-3 });
    expect(events.map(([step]) => step)).toEqual([1, 2, 3, 4, 5]);
    expect(new Set(events.map(([, steps]) => steps))).toEqual(new Set([5]));
    expect(made.options).toMatchObject({ aestheticScore: 6, steps: 5, output: "latents" });
    expect(made.options).not.toHaveProperty("denoisingEnd");
    expect(
      infotext({ options: made.options, model: "base", refiner: { model: "r", switchAt: 0.6 } }),
    ).toContain("Refiner: r, Refiner switch at: 0.6");
  });

  it.each<[string, GenerateOptions]>([
    ["varied pictures", { variation: { seed: 7, strength: 0.5 } }],
    ["pictures with a seed each", { negativePrompt: "{fog|rain|snow}" }],
  ])("gives %s of one call what each has by itself", async (_, options) => {
    const base = await tinyModel("models/tiny-sdxl");
    const told: GenerateResult[] = [];
    const refiner = {
      generate: async (asked: GenerateOptions) => {
        const result = await (await loaded).generate(asked);
        told.push(result);
        return result;
      },
    };
    const asked = {
      ...{
        prompt: "a {cat|dog|tree|house|car|sun}",
        wildcards: {},
        scheduler: "euler_a",
        steps: 4,
        switchAt: 0.5,
      },
      ...{ width: 32, height: 32, ...options },
    } as const;
    const both = await generateRefined(base, refiner, { ...asked, seed: 5, count: 2 });
    expect(told.length).toBe(1);
    for (const name of ["prompts", "negativePrompts", "seeds"] as const)
      expect(told[0]!.options[name], name).toEqual(both.options[name]);
    expect(both.seeds).toEqual(both.options.seeds);
    expect(both.seeds).toEqual(options.variation ? [5, 5] : [5, 6]);
    for (const picture of [0, 1]) {
      const { variation } = options as Partial<Seeding>;
      const seeds = seedsOfPicture({ seed: 5, ...(variation && { variation }) }, picture);
      const alone = await generateRefined(base, await loaded, { ...asked, ...seeds });
      expect(alone.images[0]).toEqual(both.images[picture]);
      expect(alone.options.prompts[0]).toBe(both.options.prompts[picture]);
    }
  });

  it("ends each picture that was begun with what is expected of it, when both are stopped", async () => {
    const base = await tinyModel("models/tiny-sdxl");
    const asked = {
      prompt: "a fox",
      scheduler: "euler",
      ...{ steps: 4, seed: 5, width: 32, height: 32 },
    } as const;
    const stoppedAt = async (last: number, count: number) => {
      const stop = new AbortController();
      const seen: number[] = [];
      const result = await generateRefined(base, await loaded, {
        ...{ ...asked, count, switchAt: 0.5, stop: stop.signal },
        onProgress: (event) => {
          if (event.type !== "step") return;
          seen.push(event.image);
          if (event.step === last) stop.abort();
        },
      });
      return { ...result, seen };
    };
    // In the first model's second picture: the first goes on by one step, the second is decoded as it is.
    const early = await stoppedAt(3, 3);
    expect([early.seen, early.images.length, early.seeds]).toEqual([[0, 0, 1, 0], 2, [5, 6]]);
    expect(early.options.stopped).toEqual([0, 1]);
    expect(early.notes).toEqual([
      "stopped after 4 of 12 steps: 1 of 3 pictures had not been begun and is left out",
    ]);
    const stop = new AbortController();
    const first = await base.generate({
      ...{ ...asked, seed: 6, denoisingEnd: 0.5, output: "latents", stop: stop.signal },
      onProgress: ({ type }) => type === "step" && stop.abort(),
    });
    expect(early.latents.data.slice(first.latents.data.length)).toEqual(first.latents.data);
    // Between the two: each takes one step of the second model.
    const between = await stoppedAt(4, 2);
    expect(between.seen).toEqual([0, 0, 1, 1, 0, 1]);
    expect(between.latents.data.slice(0, first.latents.data.length)).toEqual(
      early.latents.data.slice(0, first.latents.data.length),
    );
    expect(between.notes).toEqual(["stopped after 6 of 8 steps"]);
    const none = await generateRefined(base, await loaded, {
      ...asked,
      switchAt: 0.5,
      stop: AbortSignal.abort(),
    });
    expect([none.images, none.seeds, none.notes]).toEqual([
      [],
      [],
      ["stopped before the first step: there is no picture"],
    ]);
  });

  it("refuses what cannot be handed over, by its name", async () => {
    const both = [await tinyModel("models/tiny-sdxl"), await loaded] as const;
    const asked = { prompt: "a fox", switchAt: 0.8 };
    await expect(generateRefined(...both, { ...asked, hires: {} })).rejects.toThrow("take no hires");
    await expect(generateRefined(...both, { ...asked, image: patternOf(about.size) })).rejects.toThrow(
      "take no image",
    );
    await expect(generateRefined(...both, { ...asked, switchAt: 1 })).rejects.toThrow(/^switchAt: .*got 1$/);
  });

  it("refuses a second model whose latents mean something else, and takes its noise", async () => {
    const [xl, other] = [await tinyModel("models/tiny-sdxl"), await tinyModel("models/tiny-sd1")];
    const asked: GenerateOptions = { prompt: "a fox", seed: 3, steps: 4, output: "latents" };
    await expect(generateRefined(xl, other, { ...asked, switchAt: 0.5 })).rejects.toThrow(
      "latents: the latents are of another kind of model (scaled by 0.13025); those of tiny-sd1 are scaled by 0.18215",
    );
    const { latents } = await other.generate(asked);
    expect(latents.scaling).toBe("by 0.18215");
    await expect(xl.generate({ ...asked, image: latents })).rejects.toThrow(
      "image: the latents are of another",
    );
    const { prompt } = asked;
    expect(
      (await xl.generate({ ...asked, prompt: [prompt as string], width: 16, height: 16 })).seeds,
    ).toEqual([3]);
  });

  it.each(["picture", "scores"])("%s", async (id) => {
    const { share: _, ...options } = optionsOf(id);
    const { latents } = await (await loaded).generate(options);
    expect(latents.data).toBeCloseTo32(expected(id).data, { abs: 1e-3, rel: 1e-3 });
  });

  it("says what it needs, and that no other model takes its scores", async () => {
    const refiner = await loaded;
    await expect(refiner.generate({ prompt: "a fox" })).rejects.toThrow(
      "tiny-refiner goes on with what another model has begun, and needs an image, or latents with denoisingStart",
    );
    await expect(
      refiner.generate({ prompt: "a fox", image: patternOf(about.size), prompt2: "b" }),
    ).rejects.toThrow("prompt2 is for models of the SDXL kind");
    const base = await tinyModel("models/tiny-sdxl");
    await expect(base.generate({ prompt: "a fox", aestheticScore: 7 })).rejects.toThrow(
      "aestheticScore is for refiners, tiny-sdxl is none",
    );
  });
});
