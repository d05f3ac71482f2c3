import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { goldenPath } from "../testing/golden.js";
import { readWildcards } from "./wildcard-folder.js";

let folder: string;
let model: StableDiffusion;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wildcards-"));
  await mkdir(join(folder, "places"));
  await writeFile(join(folder, "colour.txt"), "# of cars\nred\n\ngreen\n");
  await writeFile(join(folder, "places", "north.TXT"), "in the __colour__ snow");
  await writeFile(join(folder, "notes.md"), "no list");
  model = await StableDiffusion.load(goldenPath("models/tiny-sd1"));
});
afterAll(() => model?.dispose());

test("each text file is a list, named by its path; a folder that is not there is refused", async () => {
  expect(await readWildcards(folder)).toEqual({
    colour: ["red", "green"],
    "places/north": ["in the __colour__ snow"],
  });
  await expect(readWildcards(join(folder, "none"))).rejects.toThrow(/wildcards: .* cannot be read/);
});

test("a generation draws, and gives the picture of what it has drawn", async () => {
  const common = { seed: 5, steps: 1, width: 64, height: 64 };
  const drawn = await model.generate({
    ...common,
    prompt: "a {small|large} car __places/north__",
    wildcards: folder,
  });
  const [prompt] = drawn.options.prompts;
  expect(prompt).toMatch(/^a (small|large) car in the (red|green) snow$/);
  const plain = await model.generate({ ...common, prompt: prompt! });
  expect(drawn.images[0]!.data).toEqual(plain.images[0]!.data);
  await expect(model.generate({ ...common, prompt: "a __color__ car", wildcards: folder })).rejects.toThrow(
    "there is no wildcard color",
  );
});
