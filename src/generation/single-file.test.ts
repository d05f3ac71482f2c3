import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../disk/json.js";
import { createRng } from "../latents/rng.js";
import type { GenerateOptions } from "../options/options.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { extraCases } from "../testing/golden.js";
import { patternOf } from "../testing/golden-image.js";
import { type OriginalOptions, writeOriginal } from "../testing/original-layout.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { type Component, component, type ModelSource } from "../weights/component.js";

interface Recipe {
  readonly seed: number;
  readonly shapes: Record<string, number[]>;
}

const { about, want, expected } = extraCases<{
  prompt: string;
  negativePrompt: string;
  seed: number;
  size: number;
  mean: number[];
  deviation: number[];
  cases: { id: string; steps: number; guidance: number; strength?: number }[];
  weights: Record<"text" | "text2" | "textTurbo" | "unet" | "unetRefiner" | "unetTurbo" | "vae", Recipe>;
}>("single-file");

const folder = mkdtempSync(join(tmpdir(), "single-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The weights of make.py. */
function recipe({ seed, shapes }: Recipe): Checkpoint {
  const rng = createRng("torch", seed);
  const values = new Map(
    Object.entries(shapes).map(([name, shape]) => [name, rng.normal(shape).map(scaleOf(name, shape))]),
  );
  return {
    path: "recipe",
    id: "recipe",
    tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { dtype: "F32", shape }])),
    read: () => {
      throw new Error("read whole");
    },
    readFloat32: (name) => values.get(name)!,
    close: () => {},
  };
}

function scaleOf(name: string, shape: readonly number[]): (noise: number) => number {
  const isScale = name.includes("norm") && name.endsWith("weight");
  if (shape.length === 1) return (noise) => 0.1 * noise + (isScale ? 1 : 0);
  const deviation = Math.sqrt(1 / shape.slice(1).reduce((a, b) => a * b, 1));
  return (noise) => noise * deviation;
}

const made = (what: keyof typeof about.weights, config: JsonObject): Component => ({
  ...component("", config, { path: "", layout: { by: "diffusers" } }),
  open: () => recipe(about.weights[what]),
});

const encoder = (what: "text" | "text2" | "textTurbo", hidden_act: string) =>
  made(what, { hidden_act, num_hidden_layers: 2 });

/** Writes a model of make.py as one file in the original layout. */
function write(id: string, unet: "unet" | "unetRefiner" | "unetTurbo", options: OriginalOptions): string {
  const textEncoders = {
    unet: () => [encoder("text", "quick_gelu"), encoder("text2", "gelu")],
    unetRefiner: () => [encoder("text2", "gelu")],
    unetTurbo: () => [encoder("textTurbo", "gelu")],
  }[unet]();
  const source: ModelSource = {
    path: id,
    pipeline: "",
    settings: {},
    unet: made(unet, { layers_per_block: 1 }),
    vae: made("vae", { block_out_channels: [32, 64] }),
    textEncoders,
    tokenizers: [],
    scheduler: { beta_start: 0.00085, beta_end: 0.012 },
  };
  const path = join(folder, `${id}.safetensors`);
  writeOriginal(path, source, options);
  return path;
}

const lone = { textRoot: "conditioner.embedders.0." };
const files: Record<string, () => string> = {
  cosxl: () =>
    write("cosxl", "unet", { beside: { "edm_vpred.sigma_max": [120], "edm_vpred.sigma_min": [0.002] } }),
  playground: () =>
    write("playground", "unet", { beside: { edm_mean: about.mean, edm_std: about.deviation } }),
  turbo: () => write("turbo", "unetTurbo", lone),
  refiner: () => write("refiner", "unetRefiner", lone),
};

describe("models that come as one file, against diffusers' pipelines of them", () => {
  it.each(about.cases)("$id: latents and picture", async ({ id, steps, guidance, strength }) => {
    const model = await StableDiffusion.load(files[id]!(), { runtime: "eager", threads: 1 });
    try {
      const { prompt, negativePrompt, seed, size } = about;
      const options: GenerateOptions = {
        ...{ prompt, negativePrompt, seed, steps, guidance },
        ...(strength === undefined ? { width: size, height: size } : { image: patternOf(size), strength }),
      };
      const { latents, images, notes } = await model.generate(options);
      expect(latents.data).toBeCloseTo32(expected(`${id}.latents`).data, { abs: 1e-3, rel: 1e-3 });
      // diffusers gives the picture's values from 0 to 1, [1, H, W, 3].
      const levels = want.get(`${id}.image`)!.data.map((value) => value * 255);
      expect(images[0]!.data).toBeCloseTo32(levels, { abs: 1 });
      // Only of SD-Turbo's file nothing says what it predicts.
      expect(notes).toEqual(
        id === "turbo" ? [expect.stringMatching(/epsilon is assumed, as of SD-Turbo/)] : [],
      );
    } finally {
      await model.dispose();
    }
  });
});
