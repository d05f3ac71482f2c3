import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

/** By diffusers' networks in the web UI's order: `golden-extra/unequal-prompts/make.py`. */
const { options, cases } = JSON.parse(readFileSync(goldenExtra("unequal-prompts/cases.json"), "utf8"));
const tensors = readTensors(goldenExtra("unequal-prompts/latents.safetensors"));

describe("a prompt and a negative prompt of different numbers of chunks, as the web UI has them", () => {
  const tolerance = { abs: 5e-4, rel: 1e-4 };
  const draw = async (more: object) => {
    const model = await tinyModel("models/tiny-sd1");
    const asked = { ...options, promptSyntax: "a1111", output: "latents", ...more };
    return (await model.generate(asked)).latents.data;
  };
  const wanted = (name: string) => toNhwc(tensors.get(name)!).data;

  it.each<[string, object]>(cases.map(({ name, ...rest }: { name: string }) => [name, rest]))(
    "%s: each as long as it is, or the shorter one padded where padPrompts asks for it",
    async (name, prompts) => {
      const plain = await draw(prompts);
      expect(plain).toBeCloseTo32(wanted(name), tolerance);
      expect(await draw({ ...prompts, padPrompts: true })).toBeCloseTo32(wanted(`${name}-padded`), tolerance);
      const padded = wanted(`${name}-padded`);
      expect(Math.max(...plain.map((value, i) => Math.abs(value - padded[i]!)))).toBeGreaterThan(0.01);
    },
  );

  it("padPrompts is refused where nothing is padded by it", async () => {
    for (const promptSyntax of ["plain", "compel"])
      await expect(draw({ prompt: "a cat", promptSyntax, padPrompts: true })).rejects.toThrow(
        /^padPrompts needs promptSyntax "a1111"/,
      );
  });
});
