import { afterAll, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import { infotext } from "../options/infotext.js";
import type { GenerateOptions } from "../options/options.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const base: GenerateOptions = {
  prompt: "a {cat|dog|tree}",
  wildcards: {},
  ...{ steps: 3, guidance: 1, seed: 5, scheduler: "euler" },
};
const size = { width: 32, height: 32 };
const image = { ...size, data: new Uint8Array(32 * 32 * 3).fill(90) };
const mask = { ...size, data: new Uint8Array(32 * 32).fill(255, 300, 700) };

/** What is made when it is stopped as soon as an event is of a kind; undefined: from the beginning. */
async function stopped(options: GenerateOptions, when?: (event: ProgressEvent) => boolean) {
  const model = await tinyModel("models/tiny-sd1");
  const stop = new AbortController();
  if (!when) stop.abort();
  const seen: ProgressEvent[] = [];
  const result = await model.generate({
    ...{ ...base, ...options, stop: stop.signal },
    onProgress: (event) => {
      seen.push(event);
      if (when?.(event)) stop.abort();
    },
  });
  return { ...result, steps: seen.filter(({ type }) => type === "step").length };
}

const atStep = (step: number) => (event: ProgressEvent) => event.type === "step" && event.step === step;

describe("stopped pictures", () => {
  it.each<[string, GenerateOptions]>([
    ["from noise", size],
    ["from a picture", { image, strength: 1 }],
    ["inpainted", { image, mask, strength: 1 }],
    ["of two passes", { ...size, hires: { scale: 1.5 } }],
  ])("%s: those that were not begun are left out", async (_, options) => {
    const variation = { seed: 7, strength: 0.5 };
    const result = await stopped({ ...options, variation, count: 3 }, atStep(2));
    expect(result.images.length).toBe(1);
    expect(result.latents.shape).toEqual([1, 4, 4, 4]);
    expect(result.seeds).toEqual([5]);
    const { prompts, negativePrompts, seeds, variation: varied } = result.options;
    expect([prompts.length, negativePrompts.length, seeds, varied?.seeds]).toEqual([1, 1, [5], [7]]);
    expect(result.steps).toBe(2);
    const all = options.hires ? 3 * (3 + 2) : 9;
    expect(result.notes).toEqual([
      `stopped after 2 of ${all} steps: 2 of 3 pictures had not been begun and are left out`,
    ]);
  });

  it("are all there is in latents and in a stream's result, too", async () => {
    expect((await stopped({ ...size, count: 2, output: "latents" }, atStep(1))).latents.shape[0]).toBe(1);
    const stop = new AbortController();
    const model = await tinyModel("models/tiny-sd1");
    const stream = model.stream({
      ...{ ...base, ...size, count: 2, stop: stop.signal },
      onProgress: (event) => {
        if (atStep(4)(event)) stop.abort();
      },
    });
    let next = await stream.next();
    while (!next.done) next = await stream.next();
    expect(next.value.images.length).toBe(2);
    expect(next.value.notes).toEqual(["stopped after 4 of 6 steps"]);
  });

  it("are marked in their text as the web UI does, whole ones are not", async () => {
    const { options } = await stopped({ ...size, count: 3 }, atStep(5));
    expect(options.stopped).toEqual([1]);
    const [whole, cut] = [0, 1].map((image) => infotext({ options, model: "tiny", image }));
    expect(whole).not.toContain("Interrupted");
    expect(cut).toMatch(/, Interrupted: true$/);
    expect(infotext({ options, model: "tiny", image: 1, stopped: false })).not.toContain("Interrupted");
  });

  it("end with the picture whose last step runs, and say so only where something is left out", async () => {
    const both = await stopped({ ...size, count: 2 }, atStep(3));
    const alone = await stopped({ ...size, count: 1 }, atStep(3));
    expect(both.images).toEqual(alone.images);
    expect(both.notes).toEqual([
      "stopped after 3 of 6 steps: 1 of 2 pictures had not been begun and is left out",
    ]);
    expect(alone.notes).toEqual([]);
  });

  it.each<[string, GenerateOptions]>([
    ["from noise", size],
    ["from a picture", { image }],
    ["of another size than the model's", { image, expand: { left: 8 } }],
  ])("%s: none before the first step", async (_, options) => {
    for (const when of [undefined, (event: ProgressEvent) => event.type === "encode"]) {
      const { images, latents, seeds, notes } = await stopped({ ...options, count: 2 }, when);
      expect([images, seeds, latents.shape[0], latents.data.length]).toEqual([[], [], 0, 0]);
      expect(notes).toEqual(["stopped before the first step: there is no picture"]);
    }
  });

  it("stay as the first pass made them, when the second one is not begun", async () => {
    const model = await tinyModel("models/tiny-sd1");
    // Aborted while the picture is enlarged: after the questions before the picture, its three steps and its second pass.
    const stop = new AbortController().signal;
    let asked = 0;
    Object.defineProperty(stop, "aborted", { get: () => ++asked > 5 });
    const { latents, notes } = await model.generate({ ...base, ...size, hires: { scale: 1.5 }, stop });
    const whole = await model.generate({ ...base, ...size, output: "latents" });
    expect(latents.data).toEqual(whole.latents.data);
    expect(notes).toEqual(["stopped after 3 of 5 steps"]);
  });

  it("do not grow on sides that were not begun", async () => {
    const expand = { left: 8, right: 8 };
    const asked = { image, expand, seamStrength: 0.5, steps: 4 };
    const one = await stopped(asked, atStep(2));
    expect(one.images.map(({ width }) => width)).toEqual([40]);
    expect(one.steps).toBe(2);
    const alone = await stopped({ ...asked, expand: { left: 8 }, seamStrength: 0 }, atStep(2));
    expect(one.images).toEqual(alone.images);
  });
});
