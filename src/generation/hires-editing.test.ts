import { afterAll, expect, it } from "vitest";
import { extraCases } from "../testing/golden.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

interface Case {
  readonly id: string;
  readonly prompt: string;
  readonly steps: number;
  readonly hires_steps: number;
}

const { about, expected } = extraCases<{
  negativePrompt: string;
  seed: number;
  size: number;
  guidance: number;
  scale: number;
  strength: number;
  cases: Case[];
}>("hires-editing");

afterAll(disposeTinyModels);

it.each(about.cases)("hires fix edits the prompt in a range of its own: $id, $prompt", async (one) => {
  const model = await tinyModel("models/tiny-sd1");
  const { negativePrompt, seed, size, guidance, scale, strength } = about;
  const { prompt, steps, hires_steps } = one;
  const options = {
    ...{ prompt, negativePrompt, seed, steps, guidance, width: size, height: size },
    ...({ promptSyntax: "a1111", scheduler: "euler", output: "latents" } as const),
  };
  const first = await model.generate(options);
  const within = { abs: 5e-3, rel: 1e-3 }; // of latents with a deviation of 20
  expect(first.latents.data).toBeCloseTo32(expected(`${one.id}.first`).data, within);
  const whole = await model.generate({ ...options, hires: { scale, strength, steps: hires_steps } });
  expect(whole.latents.data).toBeCloseTo32(expected(one.id).data, within);
});
