import { readFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { readTensors, toNhwc } from "../testing/golden.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

interface Case {
  readonly id: string;
  readonly prompt: string;
  readonly steps: number;
  readonly hires_steps: number;
}

const folder = new URL("../testing/golden-extra/hires-editing/", import.meta.url);
const about = JSON.parse(readFileSync(new URL("cases.json", folder), "utf8")) as {
  negativePrompt: string;
  seed: number;
  size: number;
  guidance: number;
  scale: number;
  strength: number;
  cases: Case[];
};
const want = readTensors(new URL("cases.safetensors", folder).pathname);

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
  const expected = (name: string) => toNhwc(want.get(name)!).data;
  const within = { abs: 5e-3, rel: 1e-3 }; // of latents with a deviation of 20
  expect(first.latents.data).toBeCloseTo32(expected(`${one.id}.first`), within);
  const whole = await model.generate({ ...options, hires: { scale, strength, steps: hires_steps } });
  expect(whole.latents.data).toBeCloseTo32(expected(one.id), within);
});
