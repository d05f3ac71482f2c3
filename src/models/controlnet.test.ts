import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../disk/json.js";
import { type Control, readControl } from "../generation/control.js";
import type { Values } from "../latents/latents.js";
import { readModel } from "../runtime/model.js";
import { readControlNet } from "../runtime/networks/adapter-networks.js";
import { addResiduals, createControlNet } from "../runtime/networks/controlnet.js";
import { unetInputs } from "../runtime/networks/inputs.js";
import { createNetworks } from "../runtime/networks/networks.js";
import type { RuntimeName } from "../runtime/runner.js";
import {
  goldenCases,
  goldenExtra,
  goldenPath,
  goldenTensor,
  readTensors,
  toNhwc,
} from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { thrown } from "../testing/thrown.js";
import { openComponentFolder, openFolder } from "../weights/folder.js";
import { openComponent } from "../weights/model.js";
import { parseControlNetConfig } from "./controlnet-config.js";
import { parseUNetConfig } from "./unet-config.js";

const tolerance = { abs: 2e-5, rel: 1e-4 };
const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));
const cases = goldenCases("controlnet");

describe.each<RuntimeName>(["eager", "graph"])("ControlNet, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it.each(cases.map((c) => [c.id, c] as const))(
    "%s: residuals, and the UNet with them",
    async (_, golden) => {
      const { config, inputs, expected } = golden;
      const control = createControlNet(
        readControlNet(openComponentFolder(goldenPath(config.controlnet))),
        engine,
        options,
      );
      const { unet } = createNetworks(readModel(openFolder(goldenPath(config.unet))), engine, options);
      const given = {
        sample: values(inputs.sample),
        timestep: inputs.timestep,
        context: values(inputs.encoder_hidden_states),
      };
      const residuals = await control.run({
        ...given,
        image: values(inputs.controlnet_cond),
        scale: config.conditioning_scale,
        guess: config.guess_mode,
      });
      const want: Values[] = [...expected.down, expected.mid].map(values);
      expect(residuals.map(({ shape }) => shape)).toEqual(want.map(({ shape }) => shape));
      for (const [i, residual] of residuals.entries())
        expect(residual.data).toBeCloseTo32(want[i]!.data, tolerance);
      const { data } = await unet.run({ ...given, residuals });
      expect(data).toBeCloseTo32(values(expected.unet_sample).data, tolerance);
    },
  );
});

describe("ControlNets with fewer transformers than half of their UNet, against diffusers", () => {
  const { engine, options } = inProcess("eager");
  const tensors = readTensors(goldenExtra("controlnet-small/values.safetensors"));
  const value = (name: string): Values => toNhwc(tensors.get(name)!);
  const { unet } = openFolder(goldenPath("models/tiny-sdxl"));
  const alone = mkdtempSync(join(tmpdir(), "controlnet-"));
  afterAll(() => rmSync(alone, { recursive: true }));

  /** The weights in a file of their own, without their config.json. */
  function file(name: string): string {
    const path = join(alone, `${name}.safetensors`);
    copyFileSync(goldenExtra(`controlnet-small/${name}/diffusion_pytorch_model.safetensors`), path);
    return path;
  }

  it.each(["small", "mid", "uneven"])("%s, as a folder and as one file", async (name) => {
    const given = {
      sample: value("sample"),
      timestep: 400,
      context: tensors.get("context")!,
      image: value("picture"),
      added: { textEmbeds: tensors.get("text_embeds")!, timeIds: tensors.get("time_ids")! },
    };
    const base = { pipeline: "StableDiffusionXLPipeline", unet };
    for (const path of [goldenExtra(`controlnet-small/${name}`), file(name)]) {
      const net = createControlNet(readControlNet(openComponent(path, base, {})), engine, options);
      const residuals = await net.run(given);
      expect(residuals).toHaveLength(7);
      for (const [i, residual] of residuals.entries())
        expect(residual.data).toBeCloseTo32(value(`${name}.${i}`).data, tolerance);
    }
  });
});

it("residuals of another kind of UNet are refused before anything is computed", () => {
  const { config, inputs } = cases[0]!;
  const unet = parseUNetConfig(openFolder(goldenPath(config.unet)).unet.config, "unet");
  const given = {
    sample: values(inputs.sample),
    timestep: inputs.timestep,
    context: values(inputs.encoder_hidden_states),
  };
  const one = { shape: [1, 1, 1, 1], data: Float32Array.of(1) };
  expect(() => unetInputs(unet, { ...given, residuals: [one] })).toThrow(
    /residuals: expected \d+, one for each/,
  );
  const count = unet.levels.reduce((sum, { layers }) => sum + layers + 1, 1);
  expect(() => unetInputs(unet, { ...given, residuals: Array(count).fill(one) })).toThrow(
    /residuals\.0: expected \[1,8,8,16\]/,
  );
});

it("residuals of several are added up", () => {
  const one = [{ shape: [1, 1, 1, 2], data: Float32Array.of(1, 2) }];
  const two = [{ shape: [1, 1, 1, 2], data: Float32Array.of(10, 20) }];
  expect(addResiduals([one, two, two])).toEqual([{ shape: [1, 1, 1, 2], data: Float32Array.of(21, 42) }]);
  expect(one[0]!.data).toEqual(Float32Array.of(1, 2));
});

describe("configurations", () => {
  const folder = () => openComponentFolder(goldenPath("models/tiny-controlnet"));
  const changed = (more: JsonObject, className = "ControlNetModel") => {
    const { config, ...rest } = folder();
    return { ...rest, className, config: { ...config, ...more } };
  };
  const withTensor = (name: string) => {
    const plain = folder();
    return {
      ...plain,
      open() {
        const checkpoint = plain.open();
        const tensors = new Map([...checkpoint.tensors, [name, { dtype: "F32", shape: [6, 4] }]]);
        return { ...checkpoint, tensors };
      },
    };
  };

  it("depths for each ResNet need no way up, which a ControlNet does not have", () => {
    const { block_out_channels: levels, layers_per_block: layers } = folder().config;
    const depths = (levels as number[]).map((_, i) =>
      Array.from({ length: layers as number }, (_, j) => i + j + 1),
    );
    const { unet } = parseControlNetConfig(changed({ transformer_layers_per_block: depths }).config, "x");
    expect(unet.levels.map(({ transformerLayers }) => transformerLayers)).toEqual(depths);
    expect(unet.middle).toEqual({ transformerLayers: depths.at(-1)![0] });
  });

  it.each<[string, ReturnType<typeof folder>, RegExp]>([
    [
      "a union",
      changed({}, "ControlNetUnionModel"),
      /union ControlNet \(ControlNetUnionModel, ProMax\), which/,
    ],
    [
      "a union by its author's class",
      changed({}, "ControlNetModel_Union"),
      /union ControlNet \(ControlNetModel_Union/,
    ],
    [
      "a union by its config",
      changed({ num_control_type: 6 }),
      /union ControlNet \(ControlNetModel, ProMax\)/,
    ],
    [
      "a union by its weights",
      withTensor("task_embedding"),
      /union ControlNet \(ControlNetModel, ProMax\), which is not supported/,
    ],
    [
      "one that looks at a mask, too",
      changed({ conditioning_channels: 4 }),
      /looks at 4 channels, pictures have 3/,
    ],
  ])("%s is refused by name", (_, network, message) => {
    const error = thrown(() => readControlNet(network));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringMatching(message)]);
  });

  it("one for inpainting is known by its name, and that no mask is given is said", async () => {
    const image = { width: 8, height: 8, data: new Uint8Array(192) };
    const net = { kind: "controlnet" } as Control["net"];
    const rest = { image, scale: 1, start: 0, end: 1, guess: false, preprocess: [] };
    const read = (model: string, more: object = {}) =>
      readControl({ model, ...rest, ...more }, { net, notes: [] });
    expect((await read("owner/control_v11p_sd15_inpaint")).notes).toEqual([
      expect.stringMatching(/^control_v11p_sd15_inpaint is for inpainting, by its name, .* has no mask/),
    ]);
    expect((await read("owner/control_v11p_sd15_inpaint", { mask: image })).notes).toEqual([]);
    expect((await read("owner/control_v11p_sd15_canny")).notes).toEqual([]);
  });
});
