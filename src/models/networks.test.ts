import { describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import { readModel } from "../runtime/model.js";
import { createNetworks, type Networks } from "../runtime/networks/networks.js";
import type { UNet } from "../runtime/networks/unet.js";
import type { RuntimeName } from "../runtime/runner.js";
import { type GoldenCase, goldenCases, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { openComponentFolder, openFolder } from "../weights/folder.js";
import { openModel } from "../weights/model.js";

/**
 * Whole networks against the reference: every case op by op, and some of each kind as a graph, which costs a second
 * to build. What is compared is what callers get, so the checks and embeddings around the networks are part of it.
 */

const tolerance = { abs: 2e-5, rel: 1e-4 };

const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));
const numbers = (reference: { file: string; key: string }): number[] => [...goldenTensor(reference).data];

const runtimes = { eager: inProcess("eager"), graph: inProcess("graph") };
const opened = new Map<string, Networks>();

function networksOf(model: string, runtime: RuntimeName): Networks {
  const key = `${runtime} ${model}`;
  const { engine, options } = runtimes[runtime];
  const networks =
    opened.get(key) ?? createNetworks(readModel(openFolder(goldenPath(model))), engine, options);
  opened.set(key, networks);
  return networks;
}

/** Cases with the runtimes that they run on. */
const rows = (cases: readonly GoldenCase[], asGraph: (c: GoldenCase) => boolean) =>
  cases.flatMap((c) => {
    const names: RuntimeName[] = asGraph(c) ? ["eager", "graph"] : ["eager"];
    return names.map((runtime) => [c.id, runtime, c] as const);
  });

const runUNet = (unet: UNet, { inputs }: GoldenCase): Promise<Values> =>
  unet.run({
    sample: values(inputs.sample),
    timestep: inputs.timestep,
    ...(inputs.encoder_hidden_states && { context: values(inputs.encoder_hidden_states) }),
    ...(inputs.class_labels && { classLabels: numbers(inputs.class_labels) }),
    ...(inputs.timestep_cond && { timeCond: values(inputs.timestep_cond) }),
    ...(inputs.added_cond_kwargs && {
      added: {
        textEmbeds: values(inputs.added_cond_kwargs.text_embeds),
        timeIds: values(inputs.added_cond_kwargs.time_ids),
      },
    }),
  });

describe("UNet", () => {
  // Batch 2, not square, at an odd size where the network takes one.
  const cases = goldenCases("unet");
  it.each(rows(cases, (c) => c.id.endsWith("/5")))("%s, %s", async (_, runtime, golden) => {
    const got = await runUNet(networksOf(golden.config.model, runtime).unet, golden);
    const want = values(golden.expected.sample);
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, tolerance);
  });
});

describe("text encoder", () => {
  const cases = goldenCases("clip");
  it.each(rows(cases, (c) => c.id.endsWith("/2")))("%s, %s", async (_, runtime, golden) => {
    const { model, component } = golden.config;
    const encoder = networksOf(model, runtime).textEncoders[component === "text_encoder_2" ? 1 : 0]!;
    const got = await encoder.run({ ids: [golden.inputs.ids], skip: 1 });
    const whole = await encoder.run({ ids: [golden.inputs.ids] });
    const pairs: [Values | undefined, string][] = [
      [got.last, "last_hidden_state"],
      [got.pooled, "pooled"],
      [got.projected, "text_embeds"],
      [got.penultimate, "penultimate"],
      [got.hidden, "penultimate"],
      [got.skipped, "penultimate_normed"],
      [whole.hidden, "last_unnormed"],
      [whole.skipped, "last_hidden_state"],
    ];
    for (const [own, name] of pairs)
      if (golden.expected[name])
        expect(own!.data).toBeCloseTo32(values(golden.expected[name]).data, tolerance);
  });
});

describe("weights, however they are stored", () => {
  const cases = goldenCases("storage");
  it.each(rows(cases, (c) => c.id.endsWith("bf16")))("%s, %s", async (_, runtime, golden) => {
    const { unet, variant } = golden.config;
    const model = openFolder(goldenPath("models/tiny-sd1"));
    const { engine, options } = runtimes[runtime];
    const network = openComponentFolder(goldenPath(unet), variant ? { variant } : {});
    const read = readModel({ ...model, unet: network });
    const networks = createNetworks(read, engine, options);
    const got = await runUNet(networks.unet, golden);
    expect(got.data).toBeCloseTo32(values(golden.expected.sample).data, { abs: 1e-5, rel: 1e-4 });
  });
});

describe("single files in the original layout", () => {
  it.each(goldenCases("single-file").map((c) => [c.id, c] as const))("%s", async (_, golden) => {
    const { config, inputs, expected, tolerance } = golden;
    const { engine, options } = runtimes.eager;
    const opening = { tokenizer: "", config: goldenPath(config.config_from) };
    const model = readModel(openModel(goldenPath(config.checkpoint), opening));
    const networks = createNetworks(model, engine, options);
    const text = await networks.textEncoders[0]!.run({ ids: [inputs.ids] });
    expect(text.last.data).toBeCloseTo32(values(expected.text).data, tolerance);
    const noise = await networks.unet.run({
      sample: values(inputs.sample),
      timestep: inputs.timestep,
      context: text.last,
    });
    expect(noise.data).toBeCloseTo32(values(expected.unet).data, tolerance);
    const image = await networks.vae!.decode(values(inputs.latents));
    expect(image.data).toBeCloseTo32(values(expected.vae).data, tolerance);
  });
});
