import { afterAll, describe, expect, it } from "vitest";
import { matchLora } from "../adapters/lora.js";
import type { AdaptedModel, AdaptedNetwork } from "../adapters/lora-keys.js";
import { adaptWeight, type LoraUse, planMerge } from "../adapters/lora-merge.js";
import { extendEmbeddings, readTextualInversion } from "../adapters/textual-inversion.js";
import type { Values } from "../latents/latents.js";
import type { Fields } from "../models/fields.js";
import type { Network } from "../models/network.js";
import { buildNetwork } from "../models/registry.js";
import { goldenCase, goldenCases, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import { runGoldenUNet } from "../testing/golden-unet.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { openWeights } from "../weights/component.js";
import { openFolder } from "../weights/folder.js";
import { openSafetensors } from "../weights/formats/safetensors.js";
import { loadTokenizer } from "../weights/tokenizer-files.js";
import { eagerRunner } from "./eager.js";
import { readModel } from "./model.js";
import { loadNative } from "./native.js";
import { createNetworks, type Networks } from "./networks/networks.js";
import type { Engine } from "./process/engine.js";
import type { Input, RunnerRequest } from "./runner.js";

const open: { close(): void }[] = [];
afterAll(() => {
  for (const file of open) file.close();
});

/**
 * A golden model whose networks run here, op by op, on weights that `change` may replace.
 * @param words rows that the text encoders' tables get
 */
function networksOf(
  folder: string,
  change: (network: AdaptedNetwork, checkpoint: Checkpoint) => Checkpoint,
  words = 0,
): Networks {
  const source = openFolder(goldenPath(folder));
  const model = readModel(source);
  const textEncoders = model.textEncoders.map((config) => ({
    ...config,
    vocabularySize: config.vocabularySize + words,
  }));
  const run = (request: RunnerRequest, inputs: Fields<Input>) => {
    const { network, places } = request.weights.adapted!;
    const checkpoint = change(network, openWeights(places[network]!));
    const runner = eagerRunner(loadNative().tf, buildNetwork(request.spec) as Network, checkpoint, "fp32");
    const outputs = runner.run(inputs);
    runner.dispose();
    return outputs;
  };
  const engine = {
    runner: (request: RunnerRequest) => ({
      load: async () => undefined,
      run: async (inputs: Fields<Input>) => run(request, inputs),
      unload: async () => undefined,
    }),
  };
  return createNetworks({ ...model, textEncoders }, engine as unknown as Engine, {
    runtime: "eager",
    precision: "fp32",
    cacheRoot: "",
  });
}

function adapted(folder: string, adapters: readonly { path: string; scale: number }[]): Networks {
  const source = openFolder(goldenPath(folder));
  const tensors = (network: { open(): Checkpoint } | undefined) => {
    const checkpoint = network?.open();
    checkpoint?.close();
    return checkpoint?.tensors;
  };
  const [first, second] = source.textEncoders.map(tensors);
  const model: AdaptedModel = {
    unet: tensors(source.unet)!,
    ...(first && { text_encoder: first }),
    ...(second && { text_encoder_2: second }),
  };
  const uses: LoraUse[] = adapters.map(({ path, scale }) => {
    const file = openSafetensors(goldenPath(path));
    open.push(file);
    return { lora: matchLora(file, model), scale };
  });
  const plan = planMerge(uses);
  return networksOf(folder, (network, checkpoint) => ({
    ...checkpoint,
    readFloat32(name) {
      const original = checkpoint.readFloat32(name);
      const changes = plan.get(network)?.get(name);
      return changes ? adaptWeight(original, changes) : original;
    },
  }));
}

const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));

describe("LoRA", () => {
  const cases = goldenCases("lora");
  const single = cases.filter((c) => c.expected.without);
  const strengths = ["scale_1.0", "scale_0.6", "without"] as const;

  it.each(single.flatMap((c) => strengths.map((key) => [c.id, key, c] as const)))(
    "%s, %s: the outputs of both networks",
    async (_, key, golden) => {
      const scale = key === "without" ? 0 : Number(key.slice("scale_".length));
      const networks = adapted(golden.config.model, [{ path: golden.inputs.lora, scale }]);
      const { unet, text } = golden.expected[key];
      expect((await runGoldenUNet(networks.unet, golden)).data).toBeCloseTo32(
        values(unet).data,
        golden.tolerance,
      );
      const { last } = await networks.textEncoders[0]!.run({ ids: [golden.inputs.ids] });
      expect(last.data).toBeCloseTo32(values(text).data, golden.tolerance);
    },
  );

  it("two at once", async () => {
    const golden = cases.find((c) => c.inputs.loras)!;
    const adapters = (golden.inputs.loras as string[]).map((path, i) => ({
      path,
      scale: golden.config.scales[i],
    }));
    const { data } = await runGoldenUNet(adapted(golden.config.model, adapters).unet, golden);
    expect(data).toBeCloseTo32(values(golden.expected.unet).data, golden.tolerance);
  });

  it("all three networks of SDXL", async () => {
    const golden = goldenCase("lora/kohya-sdxl");
    const { inputs, expected, tolerance } = golden;
    const networks = adapted(golden.config.model, [{ path: inputs.lora, scale: 1 }]);
    expect((await runGoldenUNet(networks.unet, golden)).data).toBeCloseTo32(
      values(expected.unet).data,
      tolerance,
    );
    const [one, two] = networks.textEncoders;
    const first = await one!.run({ ids: [inputs.ids] });
    expect(first.penultimate.data).toBeCloseTo32(values(expected.text).data, tolerance);
    const second = await two!.run({ ids: [inputs.ids_2] });
    expect(second.penultimate.data).toBeCloseTo32(values(expected.text_2).data, tolerance);
    expect(second.projected!.data).toBeCloseTo32(values(expected.text_embeds).data, tolerance);
  });
});

describe("textual inversion", () => {
  const table = "text_model.embeddings.token_embedding.weight";

  it.each(goldenCases("textual-inversion"))("$id", async ({ config, inputs, expected, tolerance }) => {
    const file = openSafetensors(goldenPath(inputs.embedding));
    open.push(file);
    const [one, two] = readModel(openFolder(goldenPath(config.model))).textEncoders;
    const { word, vectors, rows } = readTextualInversion(
      file,
      { text_encoder: one!.width, ...(two && { text_encoder_2: two.width }) },
      { word: config.token },
    );
    expect([word, vectors]).toEqual([config.token, config.vectors]);

    const networks = networksOf(
      config.model,
      (network, checkpoint) => {
        const { dtype, shape } = checkpoint.tensors.get(table)!;
        const added = network === "text_encoder_2" ? rows.text_encoder_2! : rows.text_encoder;
        const extended = extendEmbeddings({ shape, data: checkpoint.readFloat32(table) }, shape[0]!, [added]);
        return {
          ...checkpoint,
          tensors: new Map(checkpoint.tensors).set(table, { dtype, shape: extended.shape }),
          readFloat32: (name) => (name === table ? extended.data : checkpoint.readFloat32(name)),
        };
      },
      vectors,
    );
    const outputs = expected.ids ? { text_encoder: expected } : expected;
    for (const [i, key] of ["text_encoder", "text_encoder_2"].entries()) {
      const wanted = outputs[key];
      if (!wanted) continue;
      const folder = goldenPath(`${config.model}/${key.replace("text_encoder", "tokenizer")}`);
      const ids = (await loadTokenizer(folder)).withWords([{ word, vectors }]).encode(inputs.prompt);
      expect(ids).toEqual(wanted.ids);
      const { last, penultimate } = await networks.textEncoders[i]!.run({ ids: [ids] });
      if (wanted.last_hidden_state)
        expect(last.data).toBeCloseTo32(values(wanted.last_hidden_state).data, tolerance);
      else expect(penultimate.data).toBeCloseTo32(values(wanted.penultimate).data, tolerance);
    }
  });
});
