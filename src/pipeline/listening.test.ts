import { afterAll, describe, expect, it } from "vitest";
import type { OnProgress } from "../events.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import { listening } from "./listening.js";

afterAll(disposeTinyModels);

const small = { prompt: "a fox", width: 16, height: 16, steps: 2, seed: 1 };
const throws: OnProgress = () => {
  throw new Error("my own");
};
const rejects: OnProgress = async () => {
  throw new Error("my own");
};

describe("a listener that fails", () => {
  it.each([
    ["throws", throws],
    ["answers with a promise that is rejected", rejects],
  ])("%s: the run ends with its error, and the model can be used again", async (_, onProgress) => {
    const model = await tinyModel("models/tiny-sd1");
    await expect(model.generate({ ...small, onProgress })).rejects.toThrow("my own");
    const stream = model.stream({ ...small, onProgress });
    const read = async () => {
      for await (const _ of stream);
    };
    await expect(read()).rejects.toThrow("my own");
    expect((await model.generate(small)).images).toHaveLength(1);
  });

  it("is heard even when it fails at the last event", async () => {
    const work = listening({ onProgress: rejects }, async ({ onProgress }) =>
      onProgress({ type: "load", network: "all", done: 1, total: 1 }),
    );
    await expect(work).rejects.toThrow("my own");
  });
});
