import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import { readT2iAdapter } from "../runtime/networks/adapter-networks.js";
import { unetInputs } from "../runtime/networks/inputs.js";
import { referenceTo, runnerOf } from "../runtime/networks/network-runner.js";
import { addFeatures, createT2iAdapter } from "../runtime/networks/t2i-adapter.js";
import type { RuntimeName } from "../runtime/runner.js";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { openComponentFolder } from "../weights/folder.js";
import { parseT2iAdapterConfig } from "./t2i-adapter-config.js";
import { parseUNetConfig } from "./unet-config.js";

const tolerance = { abs: 2e-5, rel: 1e-4 };
const tensors = readTensors(goldenExtra("t2i-adapter/t2i-adapter.safetensors"));
const values = (key: string): Values => toNhwc(tensors.get(key)!);
const folder = (name: string) => goldenExtra(`t2i-adapter/${name}`);

interface Cases {
  readonly features: readonly { adapter: string; image: string; features: string[] }[];
  readonly unet: { sample: string; context: string; timestep: number; features: string[]; output: string };
}
const cases = JSON.parse(readFileSync(goldenExtra("t2i-adapter/cases.json"), "utf8")) as Cases;

describe.each<RuntimeName>(["eager", "graph"])("T2I-Adapter, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it.each(cases.features.map((c) => [c.adapter, c] as const))("%s: features", async (name, c) => {
    const adapter = createT2iAdapter(readT2iAdapter(openComponentFolder(folder(name))), engine, options);
    const got = await adapter.run(values(c.image));
    const want = c.features.map(values);
    expect(got.map(({ shape }) => shape)).toEqual(want.map(({ shape }) => shape));
    for (const [i, { data }] of got.entries()) expect(data).toBeCloseTo32(want[i]!.data, tolerance);
  });

  it("a UNet as SDXL's with four of them, the last for the middle", async () => {
    const { sample, context, timestep, features, output } = cases.unet;
    const component = openComponentFolder(folder("unet"));
    const config = parseUNetConfig(component.config, "unet");
    const run = runnerOf(referenceTo(component), "unet", engine, options);
    const given = { sample: values(sample), context: values(context), timestep };
    const { inputs, size } = unetInputs(config, { ...given, features: features.map(values) });
    const outputs = await run({ kind: "unet", config, size }, inputs);
    expect(outputs.sample!.data).toBeCloseTo32(values(output).data, tolerance);
  });
});

describe("features", () => {
  const feature = (...data: number[]): Values => ({
    shape: [1, 1, 1, data.length],
    data: Float32Array.from(data),
  });

  it("of several are scaled and added up, as far as each goes", () => {
    const sum = addFeatures([
      { features: [feature(1, 2), feature(3)], scale: 0.5 },
      { features: [feature(10, 20)], scale: 2 },
    ]);
    expect(sum).toEqual([feature(20.5, 41), feature(1.5)]);
  });

  it("of another kind of UNet are refused", () => {
    const config = parseUNetConfig(openComponentFolder(folder("unet")).config, "unet");
    const given = { sample: values(cases.unet.sample), context: values(cases.unet.context), timestep: 1 };
    expect(() => unetInputs(config, { ...given, features: [feature(1)] })).toThrow(
      /features\.0: expected \[2,4,8,8\], got \[1,1,1,1\]/,
    );
    const five = [...cases.unet.features.map(values), feature(1)];
    expect(() => unetInputs(config, { ...given, features: five })).toThrow(
      /features: expected at most 4, got 5/,
    );
  });

  it("refuses an adapter of an unknown type", () => {
    expect(() => parseT2iAdapterConfig({ adapter_type: "other" }, "a/config.json")).toThrow(/adapter_type/);
  });
});
