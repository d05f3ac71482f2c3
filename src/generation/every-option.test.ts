import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { descriptions, type GenerateOptions } from "../options/options.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { type CaseModel, type OptionCase, optionCases } from "../testing/option-cases.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import { writeTinyRefiner } from "../testing/tiny-refiner.js";

// More than a hundred pictures of tiny models on a machine that may be busy.
vi.setConfig({ testTimeout: 300_000 });

const folder = mkdtempSync(join(tmpdir(), "every-option-"));
const refiners: Promise<StableDiffusion>[] = [];
afterAll(async () => {
  for (const refiner of refiners) await (await refiner).dispose();
  await disposeTinyModels();
  rmSync(folder, { recursive: true });
});

/** The one refiner. */
function refiner(): Promise<StableDiffusion> {
  if (refiners.length === 0)
    refiners.push(
      StableDiffusion.load(writeTinyRefiner(join(folder, "refiner")), { runtime: "eager", threads: 1 }),
    );
  return refiners[0]!;
}

const models: Readonly<Record<CaseModel, () => Promise<StableDiffusion>>> = {
  sd1: () => tinyModel("models/tiny-sd1"),
  sdxl: () => tinyModel("models/tiny-sdxl"),
  refiner,
  instruct: () => tinyModel("models/tiny-ip2p"),
  upscaler: () => tinyModel("models/tiny-x4-upscaler"),
};

/** The objects that a schema takes, in lists or as one of several forms. */
function objectsIn(schema: z.ZodType): z.ZodObject[] {
  if (schema instanceof z.ZodObject) return [schema];
  if (schema instanceof z.ZodOptional) return objectsIn(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodArray) return objectsIn(schema.element as z.ZodType);
  return schema instanceof z.ZodUnion ? (schema.options as z.ZodType[]).flatMap(objectsIn) : [];
}

/** Names of the settings inside of an option, with points between them. */
const namesIn = (name: string, schema: z.ZodType): string[] =>
  objectsIn(schema).flatMap(({ shape }) =>
    Object.entries(shape).flatMap(([key, inner]) => {
      const path = `${name}.${key}`;
      return [path, ...namesIn(path, inner as z.ZodType)];
    }),
  );

/** Tensors that are given, and what a table's own entries show of. */
const asOneValue = /^(latents|promptEmbeds|negativePromptEmbeds)\.|^sizes\.(original|crop|target|negative)\./;

const cases = optionCases();

describe("no option is dropped in silence", () => {
  it("each has a case, and each setting inside of one", () => {
    const names = descriptions.flatMap(([name, { schema }]) => [name, ...namesIn(name, schema)]);
    const wanted = new Set(names.filter((name) => !asOneValue.test(name)));
    expect(Object.keys(cases).toSorted()).toEqual([...wanted].toSorted());
  });

  const drawn = Object.entries(cases).filter((entry): entry is [string, OptionCase] => {
    return typeof entry[1] === "object";
  });
  it.each(drawn)("%s changes the picture", async (name, { model, from, to }) => {
    const loaded = await models[model]();
    const pictures = async (options: GenerateOptions) =>
      (await loaded.generate(options)).images.map(({ width, height, data }) => ({
        ...{ width, height, pixels: Buffer.from(data).toString("base64") },
      }));
    const [before, after] = [await pictures(from), await pictures(to)];
    expect(before.length, name).toBeGreaterThan(0);
    expect(after, name).not.toEqual(before);
  });
});
