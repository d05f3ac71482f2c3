import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { StableDiffusion } from "./stable-diffusion.js";

let model: StableDiffusion;
let cacheDir: string;
beforeAll(async () => {
  cacheDir = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
  model = await StableDiffusion.load(goldenPath("models/tiny-sd1"), { cacheDir, threads: 1 });
});
afterAll(async () => {
  await model.dispose();
  rmSync(cacheDir, { recursive: true, force: true });
});

const sizes = Array.from({ length: 60 }, (_, i) => ({
  width: 16 + 8 * (i % 10),
  height: 16 + 8 * Math.floor(i / 10),
}));

/** The text encoder has one size; of the UNet and of the VAE's decoder those used last stay. */
const MOST_GRAPHS = 1 + 3 + 3;

it("60 sizes in a row leave no more graphs and tensors than three do", { timeout: 600_000 }, async () => {
  const held: { graphs: number; tensors: number }[] = [];
  for (const size of sizes) {
    const { images } = await model.generate({ prompt: "a fox", seed: 1, steps: 1, ...size });
    expect(images[0]).toMatchObject(size);
    const { graphs, tensors } = await model.status();
    held.push({ graphs, tensors });
  }
  const [first, , third] = held;
  expect(first!.graphs).toBe(3);
  expect(third!.graphs).toBe(MOST_GRAPHS);
  // Not one more after any of the others, and not one less either: what is counted is what stays.
  for (const after of held.slice(2)) expect(after).toEqual(third);
});
