import { afterAll, describe, expect, it } from "vitest";
import { goldenCases, goldenPath } from "../testing/golden.js";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

describe("ControlNet, against diffusers", () => {
  const cases = goldenCases("pipeline").filter(
    (c) => c.config.pipeline === "StableDiffusionControlNetPipeline",
  );

  it.each(cases.map((c) => c.id.slice("pipeline/".length)))("%s", async (id) => {
    const c = pipelineCase(id);
    const {
      controlnet_conditioning_scale: scale,
      control_guidance_start: start,
      control_guidance_end: end,
      guess_mode: guess,
      ...call
    } = c.inputs.call;
    const { image, ...options } = optionsOf({ ...c, inputs: { ...c.inputs, call } });
    const control = { model: goldenPath(c.config.modules.controlnet), image: image! };
    const model = await tinyModel(c.config.model);
    const given = Object.fromEntries(
      Object.entries({ scale, start, end, guess }).filter(([, value]) => value !== undefined),
    );
    expectResult(await model.generate({ ...options, controlnet: [{ ...control, ...given }] }), c);
  });

  it("two add up: one of scale 1 is two of scale 0.5", async () => {
    const c = pipelineCase("controlnet-default");
    const { image, ...options } = optionsOf(c);
    const half = { model: goldenPath(c.config.modules.controlnet), image: image!, scale: 0.5 };
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate({ ...options, controlnet: [half, half] }), c);
  });

  it("refuses what is no ControlNet", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const image = { width: 8, height: 8, data: new Uint8Array(192) };
    const controlnet = [{ model: goldenPath("models/tiny-sd1/vae"), image }];
    await expect(model.generate({ prompt: "a", controlnet })).rejects.toThrow(/not a ControlNetModel/);
  });
});
