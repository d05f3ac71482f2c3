import { afterAll, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import type { GenerateOptions } from "../options/options.js";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const base: GenerateOptions = {
  prompt: "a fox",
  width: 48,
  height: 40,
  steps: 3,
  seed: 5,
  scheduler: "ddim",
};
const image = { width: 48, height: 40, data: new Uint8Array(48 * 40 * 3).fill(90) };

describe("graph and eager", () => {
  it.each(["sd1-default", "sdxl-micro", "inpaint-9ch-crop"])("%s runs as a graph, too", async (id) => {
    const c = pipelineCase(id);
    const graph = await tinyModel(c.config.model, { runtime: "graph" });
    const eager = await tinyModel(c.config.model);
    const result = await graph.generate(optionsOf(c));
    expectResult(result, c);
    const { latents } = await eager.generate({ ...optionsOf(c), output: "latents" });
    const largest = latents.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    expect(result.latents.data).toBeCloseTo32(latents.data, { abs: 1e-5 * largest });
  });
});

describe("aborting", () => {
  /** Aborts when an event of a kind is reported. */
  async function aborted(when: (event: ProgressEvent) => boolean, options: GenerateOptions = {}) {
    const controller = new AbortController();
    const seen: string[] = [];
    const run = (await tinyModel("models/tiny-sd1")).generate({
      ...base,
      ...options,
      signal: controller.signal,
      onProgress: (event) => {
        seen.push(event.type);
        if (when(event)) controller.abort(new Error("enough"));
      },
    });
    await expect(run).rejects.toThrow("enough");
    return seen;
  }

  it("is clean while encoding, between steps and before decoding; the next run is as if nothing had been", async () => {
    const model = await tinyModel("models/tiny-sd1");
    // All networks are loaded by now: weights that stay are no leak.
    await model.generate({ ...base, image });
    const before = await model.generate(base);
    const { tensors } = await model.status();
    expect(await aborted(({ type }) => type === "encode")).not.toContain("step");
    const ofImage = await aborted((event) => event.type === "encode" && event.what === "image", { image });
    expect(ofImage).not.toContain("step");
    const midway = await aborted((event) => event.type === "step" && event.step === 2);
    expect(midway.filter((type) => type === "step")).toHaveLength(2);
    expect(await aborted((event) => event.type === "step" && event.step === 3)).not.toContain("decode");
    const after = await model.generate(base);
    expect(after.latents).toEqual(before.latents);
    expect(after.images).toEqual(before.images);
    expect((await model.status()).tensors).toBe(tensors);
  });

  it("is heard at once while a size is being made ready, however long one call of the network takes", async () => {
    const model = await tinyModel("models/tiny-sd1", { runtime: "graph" });
    const want = await model.generate(base);
    const controller = new AbortController();
    // Minutes of work, most of it in one call.
    const large = { ...base, width: 1024, height: 1024, steps: 50, signal: controller.signal };
    const run = model.generate(large);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const began = performance.now();
    controller.abort(new Error("enough"));
    await expect(run).rejects.toThrow("enough");
    expect(performance.now() - began).toBeLessThan(20_000);
    const after = await model.generate(base);
    expect(after.latents).toEqual(want.latents);
  });

  it("of loading says nothing of what is opened later", async () => {
    const loading = new AbortController();
    const model = await tinyModel("models/tiny-sd1", { signal: loading.signal, offline: true });
    loading.abort(new Error("too long for loading"));
    const hires = { scale: 2, upscaler: "somebody/upscaler" };
    await expect(model.generate({ ...base, hires })).rejects.toMatchObject({ code: "FILE_MISSING" });
  });

  it("before the call runs nothing at all", async () => {
    const signal = AbortSignal.abort(new Error("too late"));
    const events: ProgressEvent[] = [];
    const model = await tinyModel("models/tiny-sd1");
    const run = model.generate({ ...base, signal, onProgress: (event) => events.push(event) });
    await expect(run).rejects.toThrow("too late");
    expect(events).toEqual([]);
  });
});

describe("events", () => {
  it("of a stream are those of onProgress, and its value is the result", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const reported: ProgressEvent[] = [];
    const stream = model.stream({
      ...base,
      count: 2,
      preview: { every: 2 },
      onProgress: (e) => reported.push(e),
    });
    const streamed: ProgressEvent[] = [];
    let next = await stream.next();
    for (; !next.done; next = await stream.next()) streamed.push(next.value);
    expect(streamed).toEqual(reported);
    const steps = streamed.filter((event) => event.type === "step");
    expect(steps.map(({ image, step, steps }) => [image, step, steps])).toEqual([
      [0, 1, 6],
      [0, 2, 6],
      [0, 3, 6],
      [1, 4, 6],
      [1, 5, 6],
      [1, 6, 6],
    ]);
    expect(steps.map(({ previews }) => previews?.length)).toEqual([undefined, 1, undefined, 1, undefined, 1]);
    expect(steps.at(-1)).toMatchObject({ etaMs: 0 });
    const { latents } = next.value;
    expect(latents.data.slice(latents.data.length / 2)).toEqual(steps.at(-1)!.latents.data);
    expect(next.value.images).toEqual((await model.generate({ ...base, count: 2 })).images);
  });

  it("stop with a loop that is left, and so does the run", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const seen: ProgressEvent[] = [];
    for await (const event of model.stream({ ...base, onProgress: (e) => seen.push(e) }))
      if (event.type === "step") break;
    await model.generate({ ...base, output: "latents" });
    expect(seen.filter(({ type }) => type === "step").length).toBeLessThan(3);
  });
});
