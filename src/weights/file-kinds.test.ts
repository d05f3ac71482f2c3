import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { adaptedModel } from "../adapters/adapted-checkpoint.js";
import { requireIpAdapter } from "../adapters/ip-adapter.js";
import { openLora } from "../adapters/lora.js";
import { readTextualInversion } from "../adapters/textual-inversion.js";
import { goldenExtra, goldenPath } from "../testing/golden.js";
import { writeOriginal } from "../testing/original-layout.js";
import { thrown } from "../testing/thrown.js";
import { besideModel, looksLike, type Role } from "./file-kinds.js";
import { openFolder } from "./folder.js";
import { writeSafetensors } from "./formats/safetensors.js";
import { openTensorFile } from "./formats/tensor-file.js";
import { openComponent, openModel } from "./model.js";

const folder = mkdtempSync(join(tmpdir(), "file-kinds-"));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenizer = goldenPath("tokenizers/tokenizer-clip");
const base = openFolder(goldenPath("models/tiny-sd1"));
let files = 0;

/** A file with tensors of these names; the values are of no account. */
function file(...names: readonly string[]): string {
  const path = join(folder, `${++files}.safetensors`);
  const tensor = { dtype: "F32", shape: [1], data: new Float32Array(1) };
  writeSafetensors(path, new Map(names.map((name) => [name, tensor])));
  return path;
}

/** Every way in which a file can be given. */
const openers: Record<Exclude<Role, "upscaler">, (path: string) => unknown> = {
  model: (path) => openModel(path, { tokenizer }),
  lora: (path) => openLora(path, adaptedModel(base)),
  control: (path) => openComponent(path, base, {}),
  vae: (path) => openComponent(path, base, {}),
  "ip-adapter": requireIpAdapter,
  word: (path) => readTextualInversion(openTensorFile(path), { text_encoder: 32 }),
};

describe("what is of no kind that is supported is refused by its name, however it is given", () => {
  test.each<[string, ...string[]]>([
    [
      "Stable Diffusion 3",
      "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
      "first_stage_model.decoder.conv_in.weight",
    ],
    ["Flux", "double_blocks.0.img_attn.qkv.weight", "img_in.weight"],
    ["Flux", "model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "vae.decoder.conv_in.weight"],
    ["Flux", "transformer_blocks.0.attn.add_k_proj.weight", "single_transformer_blocks.0.attn.to_q.weight"],
    [
      "transformer of text and pictures",
      "transformer_blocks.0.attn.add_k_proj.weight",
      "pos_embed.proj.weight",
    ],
    ["AuraFlow", "joint_transformer_blocks.0.attn.to_q.weight"],
    ["PixArt", "blocks.0.attn.qkv.weight", "y_embedder.y_proj.fc1.weight"],
    ["Wan", "blocks.0.self_attn.q.weight", "patch_embedding.weight"],
    [
      "Hunyuan Video",
      "double_blocks.0.img_mod.linear.weight",
      "txt_in.individual_token_refiner.blocks.0.norm1.weight",
    ],
    ["Stable Cascade", "clip_txt_mapper.weight", "down_blocks.0.0.channelwise.0.weight"],
    [
      "Kandinsky",
      "conv_in.weight",
      "down_blocks.0.resnets.0.norm1.weight",
      "encoder_hid_proj.image_embeds.weight",
    ],
    ["motion module of AnimateDiff", "down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"],
    [
      "motion LoRA of AnimateDiff",
      "down_blocks.0.motion_modules.0.temporal_transformer.attention_blocks.0.processor.to_q_lora.down.weight",
    ],
    ["ControlNet-LLLite", "lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.down.0.weight"],
    [
      "Control-LoRA",
      "lora_controlnet",
      "input_blocks.0.0.up",
      "input_hint_block.0.weight",
      "zero_convs.0.0.weight",
    ],
    ["ControlNet that holds only differences", "difference", "control_model.input_hint_block.0.weight"],
    [
      "union ControlNet",
      "task_embedding",
      "transformer_layes.0.attn.in_proj_weight",
      "controlnet_cond_embedding.conv_in.weight",
    ],
    ["ControlNet for Flux", "controlnet_x_embedder.weight", "transformer_blocks.0.attn.add_k_proj.weight"],
    ["T2I-Adapter for styles", "style_embedding", "transformer_layes.0.attn.in_proj_weight", "proj"],
    ["PhotoMaker", "id_encoder.visual_projection_2.weight", "lora_weights.unet.down.lora_A"],
    ["PuLID", "id_adapter.proj.weight"],
    ["pictures for Flux", "double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight"],
    ["hypernetwork", "768.0.linear.0.weight"],
    [
      "autoencoder of Stable Cascade",
      "vquantizer.codebook.weight",
      "down_blocks.0.gammas",
      "in_block.1.weight",
    ],
    ["Kandinsky", "input_blocks.0.0.weight", "out.2.weight", "to_model_dim_n.weight", "image_proj.weight"],
    ["Kandinsky 5", "text_transformer_blocks.0.self_attention.to_query.weight"],
    ["AuraFlow", "model.double_layers.0.attn.w1k.weight"],
    ["OmniGen", "llm.layers.0.self_attn.qkv_proj.weight", "input_x_embedder.proj.weight"],
    ["OmniGen", "layers.0.attn.to_q.weight", "time_caption_embed.caption_embedder.0.weight"],
    ["Lumina or Z-Image", "layers.0.attention.qkv.weight", "cap_embedder.0.weight"],
    ["Cosmos", "net.blocks.block0.blocks.0.block.attn.to_k.0.weight"],
    ["Kolors", "conv_in.weight", "encoder_hid_proj.weight"],
    ["restores faces", "params_ema.style_convs.0.conv.weight"],
    ["SwinIR", "params.layers.0.residual_group.blocks.0.attn.qkv.weight"],
    ["a language model", "model.layers.0.self_attn.q_proj.weight", "lm_head.weight"],
    ["T5", "encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight"],
    [
      "only averaged copies",
      "model_ema.diffusion_modelinput_blocks00weight",
      "first_stage_model.decoder.conv_in.weight",
    ],
    ["LoRA for Flux", "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"],
    ["LoRA for Flux", "transformer.transformer_blocks.0.attn.to_q.lora_A.weight"],
  ])("%s: %s", (what, ...names) => {
    const path = file(...names);
    for (const open of Object.values(openers)) {
      const { code, message } = thrown(() => open(path));
      expect(message).toContain(what);
      expect(message).toMatch(/not supported/);
      expect(["MODEL_KIND", "UNSUPPORTED", "FILE_FORMAT"]).toContain(code);
    }
  });

  test("a hypernetwork as the web UI saves it", () => {
    for (const open of Object.values(openers))
      expect(thrown(() => open(goldenExtra("hypernetwork/watercolour.pt"))).message).toMatch(
        /a hypernetwork, which is not supported/,
      );
  });
});

describe("what can be used in another way is told how", () => {
  const known: [Role, RegExp, ...string[]][] = [
    ["lora", /a LoRA: load a model first/, "lora_unet_mid_block.lora_down.weight"],
    ["lora", /a LoRA: load a model first/, "unet.mid_block.to_q.lora_A.weight"],
    ["control", /a ControlNet: load a model first/, "control_model.zero_convs.0.0.weight"],
    ["control", /a T2I-Adapter: load a model first/, "body.0.block1.weight", "conv_in.weight"],
    ["control", /a T2I-Adapter: load a model first/, "adapter.body.0.resnets.0.block1.weight"],
    ["ip-adapter", /an IP-Adapter: load a model first/, "image_proj.proj.weight"],
    ["word", /a textual inversion: load a model first/, "clip_l", "clip_g"],
    ["vae", /a VAE: load a model first/, "decoder.conv_in.weight", "loss.logvar"],
    ["upscaler", /enlarges pictures: give it to upscale/, "conv_first.weight", "body.0.rdb1.conv1.weight"],
    ["model", /a whole model, or the UNet/, "model.diffusion_model.input_blocks.0.0.weight"],
  ];
  test.each(known)("%s %s %s", (role, says, ...names) => {
    for (const other of Object.keys(openers) as Role[]) {
      const got = looksLike(names, other);
      if (other === role) expect(got).toBeUndefined();
      else expect(got).toMatch(says);
    }
  });

  test("a UNet with diffusers' names, which a model can be given as with the rest", () => {
    expect(looksLike(["down_blocks.0.resnets.0.norm1.weight", "conv_in.weight"], "model")).toMatch(
      /as config/,
    );
  });

  test("an image encoder", () => {
    expect(looksLike(["vision_model.embeddings.class_embedding"], "model")).toMatch(/imageEncoder/);
  });

  test("a LoRA in the place of a word, whose one tensor has the form of one", () => {
    const path = file("lora_unet_mid_block.lora_down.weight");
    expect(thrown(() => openers.word(path)).message).toMatch(/is no textual inversion: it looks like a LoRA/);
  });
});

describe("a UNet with more than that", () => {
  test.each([
    ["it is Zero123", "cc_projection.weight"],
    ["it is the depth-to-image version", "depth_model.model.pretrained.cls_token"],
    ["it is unCLIP", "noise_augmentor.data_mean"],
    ["it is unCLIP", "embedder.model.visual.proj"],
    ["it is Stable Video Diffusion", "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight"],
    ["it is a video model", "model.diffusion_model.input_blocks.1.1.temopral_conv.conv1.0.weight"],
    ["it is the first latent diffusion", "cond_stage_model.transformer.token_emb.weight"],
    ["it is AltDiffusion", "cond_stage_model.model.roberta.embeddings.word_embeddings.weight"],
    ["it is a model whose autoencoder has a codebook", "first_stage_model.quantize.embedding.weight"],
    ["it holds GLIGEN", "model.diffusion_model.position_net.null_positive_feature"],
    ["it holds a motion module", "model.diffusion_model.down_blocks.0.motion_modules.0.norm.weight"],
    ["it holds a ControlNet", "control_model.zero_convs.0.0.weight"],
  ])("%s: %s", (says, name) => {
    const path = join(folder, `${++files}.safetensors`);
    writeOriginal(path, base, { beside: { [name]: [1] } });
    const { code, message } = thrown(() => openers.model(path));
    expect([code, message]).toEqual(["UNSUPPORTED", expect.stringContaining(says)]);
    expect(message).toMatch(/recognised: a UNet \(4 input channels/);
  });

  test("an image encoder in place of the text encoder", () => {
    const names = ["cond_stage_model.model.visual.proj", "model.diffusion_model.out.2.weight"];
    expect(besideModel(names)).toMatch(/told a picture in place of a text/);
    expect(besideModel([...names, "cond_stage_model.model.token_embedding.weight"])).toBeUndefined();
  });
});

test.each([
  ["FaceID", "image_proj.proj.0.weight", [768, 512]],
  ["InstantID", "image_proj.proj_in.weight", [1280, 512]],
])("%s is refused before an image encoder is looked for", (_, name, shape) => {
  const path = join(folder, `${++files}.safetensors`);
  const tensor = (shape: number[]) => ({
    dtype: "F32",
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b)),
  });
  writeSafetensors(
    path,
    new Map([
      [name, tensor(shape)],
      ["ip_adapter.1.to_k_ip.weight", tensor([1])],
    ]),
  );
  const { code, message } = thrown(() => requireIpAdapter(path));
  expect([code, message]).toEqual(["UNSUPPORTED", expect.stringMatching(/face embeddings.*InsightFace/)]);
});
