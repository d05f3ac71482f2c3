import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readModel, readVae } from "../../runtime/model.js";
import { goldenPath } from "../../testing/golden.js";
import { originalVaeName, tensorsOf, writeOriginal } from "../../testing/original-layout.js";
import { openComponentFolder, openFolder } from "../folder.js";
import { writeSafetensors } from "../formats/safetensors.js";
import { openComponent, openModel } from "../model.js";

const folder = mkdtempSync(join(tmpdir(), "vae-alone-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const vae = openComponentFolder(goldenPath("models/tiny-sd1/vae"));
const levels = (vae.config.block_out_channels as number[]).length;

function write(rename: (name: string) => string): string {
  const path = join(folder, `${++files}.safetensors`);
  const tensors = [...tensorsOf(vae.open())].map(([name, { shape, data }]) => {
    const isConvolved = rename(name) !== name && /attentions.*weight/.test(name) && shape.length === 2;
    return [rename(name), { dtype: "F32", shape: isConvolved ? [...shape, 1, 1] : shape, data }] as const;
  });
  writeSafetensors(path, new Map(tensors));
  return path;
}

const original = (name: string) => originalVaeName(name, levels);

test.each<[string, (name: string) => string]>([
  ["with diffusers' names", (name) => name],
  ["in the original layout", original],
])("a VAE alone in its file, %s", (_, rename) => {
  const base = openFolder(goldenPath("models/tiny-sd1"));
  const alone = openComponent(write(rename), base, {});
  expect([...tensorsOf(alone.open())]).toEqual([...tensorsOf(vae.open())]);
  // Groups of norms, of which no shape tells, are those of all published ones.
  const { norm_num_groups: _groups, sample_size: _size, ...want } = vae.config;
  for (const key of ["block_out_channels", "layers_per_block", "latent_channels", "scaling_factor"])
    expect([key, alone.config[key]]).toEqual([key, want[key]]);
});

test.each([
  ["StableDiffusionPipeline", 0.18215],
  ["StableDiffusionXLInpaintPipeline", 0.13025],
  ["StableDiffusionUpscalePipeline", 0.08333],
])("for a model of %s without a VAE, latents are scaled by %d", (pipeline, factor) => {
  expect(openComponent(write(original), { pipeline }, {}).config.scaling_factor).toBe(factor);
});

test("one that does not fit is called by its file, not by the folder that it lies in", () => {
  const [own, file] = [openFolder(goldenPath("models/tiny-x4-upscaler")), write(original)];
  const alone = openComponent(file, own, {});
  const groups = { norm_num_groups: vae.config.norm_num_groups! };
  const fitting = { ...alone, config: { ...alone.config, ...groups, latent_channels: 16 } };
  expect(() => readModel(own, { vae: fitting })).toThrow(`${file} has latents of 16 channels`);
});

test("how latents are scaled is the model's affair: Playground v2.5 takes another VAE's weights with its own numbers", () => {
  const [mean, deviation] = [
    [-1.5, 1.75, -1.25, 2.5],
    [8.5, 6, 6.5, 5.25],
  ];
  const path = join(folder, "playground.safetensors");
  const beside = { edm_mean: mean, edm_std: deviation };
  const keeps = (name: string) => !name.startsWith("first_stage_model.");
  writeOriginal(path, openFolder(goldenPath("models/tiny-sd1")), { beside, keeps });
  const file = write(original);
  const tokenizer = goldenPath("tokenizers/tokenizer-clip");
  const model = openModel(path, { tokenizer, vae: file });
  const scales = { scaling_factor: 0.5, latents_mean: mean, latents_std: deviation };
  expect(model.vae!.config).toMatchObject(scales);
  // The option's VAE is opened again, in place of the model's own.
  expect(openComponent(file, model, {}).config).toMatchObject(scales);
  const groups = { norm_num_groups: vae.config.norm_num_groups! };
  const read = readVae({ ...model.vae!, config: { ...model.vae!.config, ...groups } });
  expect(read).toMatchObject({ scalingFactor: 0.5, latentsMean: mean, latentsStd: deviation });
});
