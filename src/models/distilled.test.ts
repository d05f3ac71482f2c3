import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import { unetInputs } from "../runtime/networks/inputs.js";
import { referenceTo, runnerOf } from "../runtime/networks/network-runner.js";
import { unetOf } from "../runtime/networks/unet.js";
import { checkWeights } from "../runtime/requirements.js";
import type { RuntimeName } from "../runtime/runner.js";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { openComponentFolder } from "../weights/folder.js";
import { parseControlNetConfig } from "./controlnet-config.js";
import { parseUNetConfig } from "./unet-config.js";

/** UNets that distillation has made asymmetric or shallow: SSD-1B, Segmind Vega, BK-SDM, tiny-sd. */
const tensors = readTensors(goldenExtra("distilled/distilled.safetensors"));
const values = (key: string): Values => toNhwc(tensors.get(key)!);
const folder = (name: string) => goldenExtra(`distilled/${name}`);

interface Case {
  readonly name: string;
  readonly timestep: number;
  readonly added: boolean;
}
const cases = JSON.parse(readFileSync(goldenExtra("distilled/cases.json"), "utf8")) as Case[];
const configOf = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${folder(name)}/config.json`, "utf8"));

const inputOf = ({ name, timestep, added }: Case) => ({
  sample: values(`${name}.sample`),
  context: values(`${name}.context`),
  timestep,
  ...(added && {
    added: { textEmbeds: values(`${name}.text_embeds`), timeIds: values(`${name}.time_ids`) },
  }),
});

describe.each<RuntimeName>(["eager", "graph"])("distilled UNets, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it.each(cases.map((c) => [c.name, c] as const))("%s gives diffusers' numbers", async (name, c) => {
    const component = openComponentFolder(folder(name));
    const config = parseUNetConfig(component.config, "config.json");
    const checkpoint = component.open();
    const size = { batch: 1, height: 8, width: 8, tokens: 1 };
    checkWeights(checkpoint, [{ kind: "unet", config, size }]);
    checkpoint.close();
    const run = runnerOf(referenceTo(component), "unet", engine, options);
    const unet = unetOf({ kind: "unet", config }, run, () => new Float32Array());
    const want = values(`${name}.output`);
    const got = await unet.run(inputOf(c));
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 2e-5, rel: 1e-4 });
    // The shallow part joins the same last layer.
    const whole = await unet.runDeep(inputOf(c));
    const again = await unet.runDeep(inputOf(c), whole.deep);
    expect(again.sample.data).toBeCloseTo32(want.data, { abs: 2e-5, rel: 1e-4 });
  });
});

describe("configs", () => {
  it("a middle that is null is none, one that is absent is diffusers' default", () => {
    const { mid_block_type: _, ...absent } = configOf("bk-sdm-tiny");
    expect(parseUNetConfig({ ...absent, mid_block_type: null }, "c").middle).toBeUndefined();
    expect(parseUNetConfig(absent, "c").middle).toEqual({ transformerLayers: 1 });
    expect(parseUNetConfig({ ...absent, mid_block_type: "UNetMidBlock2D" }, "c").middle).toEqual({});
  });

  it.each([
    [{ reverse_transformer_layers_per_block: null }, /needs reverse_transformer_layers_per_block/],
    [
      { transformer_layers_per_block: [0, [1], [1, 1]] },
      /transformer_layers_per_block\.1 has 1 entries for 2 ResNets/,
    ],
    [
      { reverse_transformer_layers_per_block: [[1, 1], 1, 1] },
      /reverse_transformer_layers_per_block\.0 has 2 entries for 3 ResNets/,
    ],
    [{ reverse_transformer_layers_per_block: [1, 1] }, /has 2 entries for 3 levels/],
    [{ transformer_layers_per_block: [0, [1, -1], 1] }, /transformer_layers_per_block/],
    [{ resnet_skip_time_act: true }, /resnet_skip_time_act/],
    [{ attention_type: "gated" }, /attention_type/],
  ])("%j is refused by name", (changed, message) => {
    expect(() => parseUNetConfig({ ...configOf("ssd-1b"), ...changed }, "c")).toThrow(message);
  });

  it("features for a middle that is not there are refused", () => {
    const config = parseUNetConfig(configOf("bk-sdm-tiny"), "c");
    const feature = (shape: number[]): Values => ({
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b)),
    });
    const features = [
      [2, 11, 9, 8],
      [2, 6, 5, 16],
      [2, 3, 3, 16],
      [2, 3, 3, 16],
    ].map(feature);
    const input = inputOf(cases.find(({ name }) => name === "bk-sdm-tiny")!);
    expect(() => unetInputs(config, { ...input, features })).toThrow(/features: expected at most 3, got 4/);
  });

  it("a ControlNet always has a middle", () => {
    expect(() => parseControlNetConfig(configOf("bk-sdm-tiny"), "c")).toThrow(/mid_block_type is null/);
  });
});
