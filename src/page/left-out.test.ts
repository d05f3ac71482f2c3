import { expect, test } from "vitest";
import { parseFields } from "../image/parameters.js";
import { leftOut, leftOutOfJob } from "./left-out.js";

const start =
  "a cat\nSteps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 512x768";
const found = { scheduler: "euler_a", schedule: "", rng: "torch" } as const;

const namesOf = (more: string, made: Parameters<typeof leftOut>[1] = found) =>
  leftOut(parseFields(`${start}, ${more}`), made);

test("what the forms have, and what changes no picture, is not named", () => {
  const taken = [
    "Model hash: 0123456789, Model: m, Clip skip: 2, RNG: CPU, Denoising strength: 0.5, Version: v1.10.1",
    'Lora hashes: "a: 1, b: 2", TI hashes: "x: 1", VAE hash: 12, User: me, ENSD: 0, Emphasis: Original',
    "Hires upscale: 2, Hires steps: 4, Hires upscaler: Latent, Mask blur: 4, Inpaint area: Only masked",
    "Masked area padding: 32, PAG: 3 mid, FreeU: 1.5 1.6 0.9 0.2, Tiling: False, VAE: Automatic",
  ];
  for (const more of taken) expect(namesOf(more)).toEqual([]);
});

// What people paste of the web UI and its extensions.
test.each([
  ...["ENSD: 31337", "Eta: 0.5", "Eta DDIM: 0.2", "Refiner: xl [12]", "Refiner switch at: 0.8", "NGMS: 1"],
  ...[
    "Token merging ratio: 0.5",
    "Token merging ratio hr: 0.5",
    "Hires prompt: a dog",
    "Hires sampler: Euler",
  ],
  ...["Hires schedule type: Karras", "Hires checkpoint: other", "Tiling: True"],
  ...["SGM noise multiplier: True", "Face restoration: CodeFormer", "VAE: other.pt", "Emphasis: No norm"],
  ...["Downcast alphas_cumprod: True", "Skip Early CFG: 0.1", "Beta schedule alpha: 0.7"],
  ...[
    "Dynamic thresholding enabled: True",
    'ControlNet 0: "Module: canny, Model: x"',
    "ADetailer model: face",
  ],
  ...[
    "FreeU Stages: x",
    "Mask blur side: both",
    "Image CFG scale: 1.5",
    "Noise multiplier: 0.9",
    "CFG mode: 1",
  ],
])("%s is named", (more) => {
  expect(namesOf(more)).toEqual([more.slice(0, more.indexOf(":"))]);
});

test("what the forms have, with a value that they do not have, is named", () => {
  expect(namesOf("Seed resize from: 512x512")).toEqual(["Seed resize from"]);
  expect(namesOf("PAG: 3 up")).toEqual(["PAG"]);
  const { rng: _, ...noRng } = found;
  expect(namesOf("RNG: TPU", noRng)).toEqual(["RNG"]);
  expect(namesOf("Model: m", { ...found, scheduler: "" })).toEqual(["Sampler"]);
  // The last one counts.
  const scheduled = "Schedule type: Align Your Steps";
  expect(namesOf(scheduled)).toEqual(["Schedule type"]);
  expect(namesOf(scheduled, { ...found, schedule: "align_your_steps" })).toEqual([]);
});

test("options of a job that no form has are named, unless they are off", () => {
  const job = { kind: "generate", model: "m", count: 1, prompt: "a cat", promptSyntax: "a1111" } as const;
  expect(
    leftOutOfJob({ ...job, eta: 0, maskInvert: false, steps: 4, freeu: { b1: 1, b2: 1, s1: 1, s2: 1 } }),
  ).toEqual([]);
  const refiner = { model: "xl", switchAt: 0.8 };
  expect(leftOutOfJob({ ...job, refiner, aestheticScore: 7, eta: 0.5, emphasis: "ignore" })).toEqual([
    "emphasis",
    "eta",
  ]);
  expect(leftOutOfJob({ ...job, mask: { url: "" }, aestheticScore: 7 })).toEqual(["aestheticScore"]);
  expect(leftOutOfJob({ ...job, strength: 0 })).toEqual(["strength"]);
  expect(leftOutOfJob({ ...job, strength: 0.5 })).toEqual([]);
  expect(leftOutOfJob({ ...job, promptSyntax: "compel" })).toEqual(["promptSyntax"]);
});
