import { expect, it } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { generate } from "./generate.js";

const model = goldenPath("models/tiny-sd1");
const small = { model, prompt: "a fox", width: 16, height: 16, steps: 1, seed: 1 };

it("takes every option of loading beside those of a picture", async () => {
  const { images } = await generate({
    ...small,
    runtime: "eager",
    memoryLimit: 2 ** 40,
    hangMs: 600_000,
  });
  expect(images).toHaveLength(1);
});

it("refuses what belongs to neither, before a model is loaded, with the nearest name of both", async () => {
  await expect(generate({ ...small, model: "nowhere", precison: "fp16" } as never)).rejects.toMatchObject({
    message: "there is no option precison",
    hint: "did you mean precision?",
  });
  await expect(generate({ ...small, model: "nowhere", memoryLimit: -1 })).rejects.toThrow(
    "memoryLimit must be above 0, got -1",
  );
});
