import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chooseFiles } from "../hub/files.js";
import { goldenPath } from "../testing/golden.js";
import { writeModel } from "../weights/convert-model.js";
import { openFolder } from "../weights/folder.js";
import { describeModel } from "./model-info.js";
import { defaultModels } from "./model-source.js";
import { StableDiffusion } from "./stable-diffusion.js";

const scratch = mkdtempSync(join(tmpdir(), "defaults-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function modelWith(name: string, defaults: unknown): string {
  const folder = join(scratch, name);
  cpSync(goldenPath("models/tiny-sd1"), folder, { recursive: true });
  writeFileSync(join(folder, "generation_defaults.json"), JSON.stringify(defaults));
  return folder;
}

const own = { scheduler: "dpmpp_2m_karras", steps: 3, guidance: 4, width: 48, height: 32 } as const;

describe("generation_defaults.json beside model_index.json", () => {
  test("makes the picture that the same options make, and gives way to options", {
    timeout: 120_000,
  }, async () => {
    await using model = await StableDiffusion.load(modelWith("own", own));
    await using plain = await StableDiffusion.load(goldenPath("models/tiny-sd1"));
    const asked = { prompt: "a dog", seed: 5 };
    const mine = await model.generate(asked);
    expect(mine.images[0]).toMatchObject({ width: 48, height: 32 });
    expect(mine.options).toMatchObject({ steps: 3, guidance: 4, schedulerName: "dpmpp_2m_karras" });
    expect(mine.images[0]).toEqual((await plain.generate({ ...asked, ...own })).images[0]);
    const given = { steps: 2, scheduler: "ddim", guidance: 2, width: 32 } as const;
    const other = await model.generate({ ...asked, ...given });
    expect(other.images[0]).toEqual((await plain.generate({ ...asked, ...given, height: 32 })).images[0]);
  });

  test("is told of a model without loading it, with what its kind completes", async () => {
    const { generationDefaults, usual } = await describeModel(modelWith("told", { steps: 7 }));
    expect(generationDefaults).toEqual({ steps: 7 });
    expect(usual).toMatchObject({ steps: 7, guidance: 7.5 });
    expect((await describeModel(goldenPath("models/tiny-sd1"))).generationDefaults).toBeUndefined();
  });

  test("with a mistake keeps the model from loading, in one sentence", async () => {
    const folder = modelWith("wrong", { stepz: 7 });
    const refusal = {
      code: "FILE_FORMAT",
      message: `${join(folder, "generation_defaults.json")}: there is no option stepz`,
      hint: "did you mean steps?",
    };
    await expect(describeModel(folder)).rejects.toMatchObject(refusal);
    await expect(StableDiffusion.load(folder)).rejects.toMatchObject(refusal);
  });

  test("goes along when the model is converted, and is downloaded with it", () => {
    const copy = join(scratch, "copy");
    writeModel(openFolder(modelWith("whole", own)), copy);
    expect(openFolder(copy).generationDefaults?.content).toEqual(own);
    const files = ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"];
    const index = { unet: ["diffusers", "UNet2DModel"] };
    const chosen = (more: string[], wish = {}) =>
      chooseFiles("a/b", ["model_index.json", ...files, ...more], index, wish).files;
    expect(chosen(["generation_defaults.json"])).toContain("generation_defaults.json");
    expect(chosen([])).not.toContain("generation_defaults.json");
    expect(chosen(["generation_defaults.json"], { components: ["unet"] })).not.toContain(
      "generation_defaults.json",
    );
  });

  test.each(defaultModels)("%s has some", async (name) => {
    const { generationDefaults, usual, size } = await describeModel(name);
    expect(Object.keys(generationDefaults ?? {})).toEqual(expect.arrayContaining(["scheduler", "steps"]));
    expect([usual.width, usual.height]).toEqual([size, size]);
  });
});
