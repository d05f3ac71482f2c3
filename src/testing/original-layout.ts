import type { Checkpoint } from "../weights/checkpoint.js";
import type { ModelSource } from "../weights/component.js";
import { type TensorToWrite, writeSafetensors } from "../weights/formats/safetensors.js";

/** Everything in a checkpoint, by name, which is closed. */
export const tensorsOf = (checkpoint: Checkpoint) => {
  const tensors = new Map(
    [...checkpoint.tensors].map(([name, { shape }]) => [name, { shape, data: checkpoint.readFloat32(name) }]),
  );
  checkpoint.close();
  return new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1)));
};

/** The inverse of the rules under test, by the formulas of the original: `n` resnets a level. */
export function originalUNetName(name: string, n: number): string {
  const inside = (rest: string) =>
    rest
      .replace(/^norm1\./, "in_layers.0.")
      .replace(/^conv1\./, "in_layers.2.")
      .replace(/^norm2\./, "out_layers.0.")
      .replace(/^conv2\./, "out_layers.3.")
      .replace(/^time_emb_proj\./, "emb_layers.1.")
      .replace(/^conv_shortcut\./, "skip_connection.");
  const [, way, level, kind, layer, rest = ""] =
    /^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)$/.exec(name) ?? [];
  if (way === "down") {
    const at = 1 + Number(level) * (n + 1);
    if (kind === "downsamplers") return `input_blocks.${at + n}.0.${rest.replace("conv.", "op.")}`;
    return `input_blocks.${at + Number(layer)}.${kind === "resnets" ? `0.${inside(rest)}` : `1.${rest}`}`;
  }
  if (way === "up") {
    const at = Number(level) * (n + 1);
    if (kind === "upsamplers") return `output_blocks.${at + n}.UP.${rest}`;
    return `output_blocks.${at + Number(layer)}.${kind === "resnets" ? `0.${inside(rest)}` : `1.${rest}`}`;
  }
  const [, place, rest2 = ""] = /^mid_block\.(resnets\.0|attentions\.0|resnets\.1)\.(.*)$/.exec(name) ?? [];
  if (place)
    return `middle_block.${["resnets.0", "attentions.0", "resnets.1"].indexOf(place)}.${inside(rest2)}`;
  return name
    .replace("time_embedding.linear_1", "time_embed.0")
    .replace("time_embedding.linear_2", "time_embed.2")
    .replace("time_embedding.cond_proj", "time_embed.cond_proj")
    .replace("add_embedding.linear_1", "label_emb.0.0")
    .replace("add_embedding.linear_2", "label_emb.0.2")
    .replace("class_embedding", "label_emb")
    .replace(/^conv_in/, "input_blocks.0.0")
    .replace("conv_norm_out", "out.0")
    .replace(/^conv_out/, "out.2");
}

export const originalVaeName = (name: string, levels: number): string =>
  name
    .replace(/up_blocks\.(\d+)/, (_, level) => `up.${levels - 1 - Number(level)}`)
    .replace("down_blocks", "down")
    .replace("mid_block.resnets.0", "mid.block_1")
    .replace("mid_block.resnets.1", "mid.block_2")
    .replace("mid_block.attentions.0", "mid.attn_1")
    .replace("resnets", "block")
    .replace(/(down|up)samplers\.0/, "$1sample")
    .replace("conv_norm_out", "norm_out")
    .replace("conv_shortcut", "nin_shortcut")
    .replace("group_norm", "norm")
    .replace(/to_([qkv])\./, "$1.")
    .replace("to_out.0", "proj_out");

export const originalClipName = (name: string): string =>
  name
    .replace("text_model.embeddings.position_embedding.weight", "positional_embedding")
    .replace("text_model.embeddings.", "")
    .replace("text_model.final_layer_norm", "ln_final")
    .replace("text_model.encoder.layers.", "transformer.resblocks.")
    .replace("layer_norm", "ln_")
    .replace("mlp.fc1", "mlp.c_fc")
    .replace("mlp.fc2", "mlp.c_proj")
    .replace("self_attn", "attn");

export interface OriginalOptions {
  /** What text encoders are below; default: as the family has them. */
  readonly textRoot?: string;
  /** Tensors that lie beside the networks; the values are of no account where none are given. */
  readonly beside?: Readonly<Record<string, readonly number[]>>;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The schedule's table; default: that of the model's scheduler. */
  readonly table?: Float32Array;
  /** Leaves out what does not pass. */
  readonly keeps?: (name: string) => boolean;
}

/** The share of the picture that a step of training leaves, for schedules whose betas' roots are evenly spaced. */
export function scheduleTable({ beta_start, beta_end }: Record<string, unknown>): Float32Array {
  const [start, end] = [Math.sqrt(Number(beta_start)), Math.sqrt(Number(beta_end))];
  let left = 1;
  return Float32Array.from({ length: 1000 }, (_, i) => {
    left *= 1 - (start + ((end - start) * i) / 999) ** 2;
    return left;
  });
}

/** Writes a folder's networks in the original layout. */
export function writeOriginal(path: string, source: ModelSource, options: OriginalOptions = {}): void {
  const out = new Map<string, TensorToWrite>();
  const put = (name: string, shape: readonly number[], data: Float32Array) =>
    out.set(name, { dtype: "F32", shape, data });
  const layers = source.unet.config.layers_per_block as number;
  const unet = tensorsOf(source.unet.open());
  for (const [name, { shape, data }] of unet) {
    const original = originalUNetName(name, layers);
    const [, block] = /^(output_blocks\.\d+)\.UP/.exec(original) ?? [];
    const level = /^up_blocks\.(\d+)/.exec(name)?.[1];
    const up = unet.has(`up_blocks.${level}.attentions.0.norm.weight`) ? 2 : 1; // behind an attention or not
    put(`model.diffusion_model.${block ? original.replace("UP", String(up)) : original}`, shape, data);
  }
  const levels = (source.vae!.config.block_out_channels as number[]).length;
  for (const [name, { shape, data }] of tensorsOf(source.vae!.open())) {
    const conv = /attentions.*weight/.test(name) && shape.length === 2;
    put(`first_stage_model.${originalVaeName(name, levels)}`, conv ? [...shape, 1, 1] : shape, data);
  }
  source.textEncoders.forEach((network, i) => {
    const isXl = source.textEncoders.length === 2;
    const openClip = network.config.hidden_act === "gelu";
    const root = options.textRoot ?? (isXl ? `conditioner.embedders.${i}.` : "cond_stage_model.");
    const tensors = tensorsOf(network.open());
    if (!openClip) {
      for (const [name, { shape, data }] of tensors) put(`${root}transformer.${name}`, shape, data);
      return;
    }
    for (const [name, { shape, data }] of tensors) {
      const [, layer, kind] = /layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)$/.exec(name) ?? [];
      if (kind !== undefined) {
        const parts = ["q", "k", "v"].map((letter) => [
          ...tensors.get(name.replace("q_proj", `${letter}_proj`))!.data,
        ]);
        const fused = Float32Array.from(parts.flat());
        put(
          `${root}model.transformer.resblocks.${layer}.attn.in_proj_${kind}`,
          [shape[0]! * 3, ...shape.slice(1)],
          fused,
        );
      } else if (name === "text_projection.weight") {
        const [rows, columns] = shape as [number, number];
        const turned = data.map((_, at) => data[(at % rows) * columns + Math.floor(at / rows)]!);
        put(`${root}model.text_projection`, [columns, rows], turned);
      } else if (!/[kv]_proj/.test(name)) put(`${root}model.${originalClipName(name)}`, shape, data);
    }
    if (!tensors.has("text_projection.weight")) {
      put(`${root}model.text_projection`, [2, 2], new Float32Array(4));
      const layers = network.config.num_hidden_layers;
      put(`${root}model.transformer.resblocks.${layers}.ln_1.weight`, [2], new Float32Array(2));
    }
    put(`${root}model.logit_scale`, [], new Float32Array(1));
  });
  const table = options.table ?? scheduleTable(source.scheduler);
  put("alphas_cumprod", [table.length], table);
  for (const [name, values] of Object.entries(options.beside ?? {}))
    put(name, [values.length], Float32Array.from(values));
  const kept = [...out].filter(([name]) => options.keeps?.(name) ?? true);
  writeSafetensors(path, new Map(kept), options.metadata ?? {});
}
