import { unetName } from "../weights/original/names.js";

/** The networks that adapters change, by the names of their folders. */
export type AdaptedNetwork = "unet" | "text_encoder" | "text_encoder_2";

/** A factor of a change of weights, whatever the file calls it. */
export type LoraPart =
  | "down"
  | "up"
  | "mid"
  | "alpha"
  | "magnitude"
  | "dora_scale"
  | `hada_${"w1_a" | "w1_b" | "w2_a" | "w2_b" | "t1" | "t2"}`
  | `lokr_${"w1" | "w1_a" | "w1_b" | "w2" | "w2_a" | "w2_b" | "t2"}`
  | `glora_${"a1" | "a2" | "b1" | "b2" | "bm"}`
  | "ia3"
  | "on_input"
  | "diff"
  | "bias_diff"
  | "up_bias";

export interface LoraKey {
  /** Everything before the part, as it stands in the file. */
  readonly module: string;
  readonly part: LoraPart;
}

/** How a key ends in each layout: kohya and LyCORIS, diffusers before 0.22, PEFT (with or without adapter name). */
const endings: readonly (readonly [RegExp, LoraPart | undefined])[] = [
  [/\.lora_down(\.weight)?$/, "down"],
  [/\.lora_up(\.weight)?$/, "up"],
  [/\.lora_mid(\.weight)?$/, "mid"],
  [/(_lora|\.lora|\.lora_linear_layer)\.down\.weight$/, "down"],
  [/(_lora|\.lora|\.lora_linear_layer)\.up\.weight$/, "up"],
  [/\.lora_A(\.[^.]+)?\.weight$/, "down"],
  [/\.lora_B(\.[^.]+)?\.weight$/, "up"],
  [/\.lora_magnitude_vector(\.[^.]+)?(\.weight)?$/, "magnitude"],
  [/\.dora_scale$/, "dora_scale"],
  [/(_lora)?\.alpha$/, "alpha"],
  [/\.(hada_(?:w[12]_[ab]|t[12]))$/, undefined],
  [/\.(lokr_(?:w[12](?:_[ab])?|t2))$/, undefined],
  // The change itself, of matrices and kernels (LyCORIS' "full"), and of norms.
  [/\.(?:diff|w_norm)$/, "diff"],
  [/\.(?:diff_b|b_norm)$/, "bias_diff"],
  [/\.lora_B(\.[^.]+)?\.bias$/, "up_bias"],
  [/\.a1\.weight$/, "glora_a1"],
  [/\.a2\.weight$/, "glora_a2"],
  [/\.b1\.weight$/, "glora_b1"],
  [/\.b2\.weight$/, "glora_b2"],
  [/\.bm\.weight$/, "glora_bm"],
  [/\.on_input$/, "on_input"],
];

/**
 * Splits a key; undefined for one that belongs to no layout.
 *
 * @param all the keys of its file: IA3 calls its factor `weight`, as any checkpoint does, but has `on_input` beside it
 */
export function parseLoraKey(key: string, all?: ReadonlyMap<string, unknown>): LoraKey | undefined {
  for (const [pattern, part] of endings) {
    const match = pattern.exec(key);
    if (match) return { module: key.slice(0, match.index), part: part ?? (match[1] as LoraPart) };
  }
  const module = key.replace(/\.weight$/, "");
  return module !== key && all?.has(`${module}.on_input`) ? { module, part: "ia3" } : undefined;
}

/** What stands before the path of a module, with `_` for every dot; the longest that fits counts. */
const prefixes: readonly (readonly [prefix: string, network: AdaptedNetwork])[] = [
  ["lora_unet_", "unet"],
  ["lycoris_", "unet"],
  ["unet_", "unet"],
  ["model_diffusion_model_", "unet"],
  ["diffusion_model_", "unet"],
  ["text_encoders_clip_g_transformer_", "text_encoder_2"],
  ["text_encoders_clip_l_transformer_", "text_encoder"],
  ["lora_te2_", "text_encoder_2"],
  ["text_encoder_2_", "text_encoder_2"],
  ["lora_te1_", "text_encoder"],
  ["lora_te_", "text_encoder"],
  ["text_encoder_", "text_encoder"],
];

/** A tensor that an adapter can change. */
export interface AdaptedTensor {
  readonly network: AdaptedNetwork;
  /** Name in the checkpoint, with `.weight`. */
  readonly name: string;
  /** PyTorch's order. */
  readonly shape: readonly number[];
}

/** The networks of the model at hand, with the names and shapes of their tensors. */
export type AdaptedModel = {
  readonly [network in AdaptedNetwork]?: ReadonlyMap<string, { readonly shape: readonly number[] }>;
};

/** Finds the weight that a module of an adapter means. */
export type TensorLookup = (module: string) => AdaptedTensor | undefined;

/** The bias beside a weight, if the module has one. */
export function biasOf({ network, name }: AdaptedTensor, model: AdaptedModel): AdaptedTensor | undefined {
  const bias = name.replace(/\.weight$/, ".bias");
  const shape = model[network]?.get(bias)?.shape;
  return shape && { network, name: bias, shape };
}

/**
 * Dots and underscores cannot be told apart in kohya's names (`down_blocks_0`, `to_out_0`), so nothing is parsed:
 * the model's own names are flattened in the same way, and looked up.
 */
export function tensorLookup(model: AdaptedModel): TensorLookup {
  const tables = new Map<AdaptedNetwork, Map<string, AdaptedTensor>>();
  for (const network of ["unet", "text_encoder", "text_encoder_2"] as const) {
    const tensors = model[network];
    if (tensors) tables.set(network, tableOf(network, tensors));
  }
  const layers = resnetsOf(model.unet?.keys() ?? []);
  return (module) => {
    const flat = flatten(module.replace(wrappers, "$1")).replace("_processor_", "_");
    const [prefix, network] = prefixes.find(([start]) => flat.startsWith(start)) ?? ["", undefined];
    const path = flat.slice(prefix.length);
    for (const [name, table] of tables) {
      if (network !== undefined && name !== network) continue;
      const found = table.get(path) ?? (name === "unet" ? table.get(fromOriginal(path, layers)) : undefined);
      if (found) return found;
    }
    return undefined;
  };
}

/** What PEFT, torch.compile and parallel training put around a network, before or behind its name: none of the model's modules. */
const wrappers = /(^|\.)(?:(?:base_model\.model|_orig_mod|module)\.)+/g;

const flatten = (name: string): string => name.replaceAll(".", "_");

/** Weights by flattened name, and by what older layouts call the same module. */
function tableOf(
  network: AdaptedNetwork,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Map<string, AdaptedTensor> {
  const table = new Map<string, AdaptedTensor>();
  const aliases: [alias: string, tensor: AdaptedTensor][] = [];
  for (const [name, { shape }] of tensors) {
    if (!name.endsWith(".weight")) continue;
    const tensor = { network, name, shape };
    const flat = flatten(name.slice(0, -".weight".length));
    table.set(flat, tensor);
    for (const alias of aliasesOf(network, flat)) aliases.push([alias, tensor]);
  }
  for (const [alias, tensor] of aliases) if (!table.has(alias)) table.set(alias, tensor);
  return table;
}

/** diffusers' attention processors: `to_out`, and in CLIP `to_q` for `q_proj`; CLIP with or without `text_model`. */
function aliasesOf(network: AdaptedNetwork, flat: string): string[] {
  if (network === "unet") return flat.endsWith("_to_out_0") ? [flat.slice(0, -2)] : [];
  const bare = flat.replace(/^text_model_/, "");
  const roots = [bare, `text_model_${bare}`];
  const processor = (name: string) => name.replace(/(?<=_self_attn_)(q|k|v|out)_proj$/, "to_$1");
  return roots.flatMap((root) => [root, processor(root)]);
}

/** Resnets of each level on the way down. */
function resnetsOf(names: Iterable<string>): number[] {
  const counts: number[] = [];
  for (const name of names) {
    const [, level, resnet] = /^down_blocks\.(\d+)\.resnets\.(\d+)\./.exec(name) ?? [];
    if (level !== undefined) counts[Number(level)] = Math.max(counts[Number(level)] ?? 0, Number(resnet) + 1);
  }
  return counts;
}

/** A flattened name of the original code (SDXL's adapters use them) as a flattened name of diffusers. */
function fromOriginal(path: string, layers: readonly number[]): string {
  const [, block, rest = ""] = /^((?:input|output)_blocks_\d+_\d+|middle_block_\d+)_(.+)$/.exec(path) ?? [];
  const dotted = block
    ? `${block.replace(/_(?=\d)/g, ".")}.${rest.replace(/^(in_layers|out_layers|emb_layers)_/, "$1.")}`
    : path.replace(/_(?=\d)/g, ".");
  return flatten(unetName(`${dotted}.`, layers)).replace(/_$/, "");
}
