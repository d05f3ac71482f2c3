import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { isJsonObject, type Json, type JsonObject, parseJson, quoted, readJsonObject } from "../disk/json.js";
import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { contentId } from "../weights/checkpoint.js";
import { type AdapterFile, openTensorFile } from "../weights/formats/tensor-file.js";
import { type LowRank, sumLowRank } from "../weights/low-rank.js";
import {
  type DeltaPlan,
  type MatMul,
  type PartShapes,
  type PartValues,
  plainMatMul,
  planDelta,
} from "./lora-delta.js";
import {
  type AdaptedModel,
  type AdaptedNetwork,
  type AdaptedTensor,
  biasOf,
  type LoraPart,
  parseLoraKey,
  tensorLookup,
} from "./lora-keys.js";

/** One tensor that an adapter changes. */
export interface LoraTarget extends AdaptedTensor {
  readonly method: DeltaPlan["method"];
  readonly rank: number | undefined;
  /** Whether the change depends on the weight that it is made to (DoRA, arXiv:2402.09353). */
  readonly decomposed: boolean;
  /**
   * Changes a weight in place.
   * @param weight float32, PyTorch's layout
   * @param scale 0 leaves it as it is; negative is allowed
   */
  apply(weight: Float32Array, scale: number, matMul?: MatMul): void;
  /** The change as two thin matrices, where it is no more than that; `factor` is alpha / rank. */
  readonly lowRank?: () => LowRank & { readonly factor: number };
}

export interface Lora {
  readonly targets: readonly LoraTarget[];
  /** Keys that nothing was done with, and why. */
  readonly unmatched: readonly { readonly key: string; readonly reason: string }[];
}

export interface LoraOptions {
  /** adapter_config.json beside a PEFT file, parsed: it has the alpha that the tensors lack. */
  readonly config?: JsonObject;
}

/**
 * Finds out what an adapter changes in a model: LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, IA3 and whole differences (also
 * of norms and biases), in the layouts of kohya, of diffusers old and new, of PEFT, and with the original code's names.
 * Reads no values but the alphas.
 *
 * @param file must stay open while deltas are read
 * @throws DiffusionError WEIGHT_SHAPE if a module is of another shape than the model's (made for another base) or
 * lacks a factor, MODEL_KIND if nothing fits
 */
export function matchLora(file: AdapterFile, model: AdaptedModel, options: LoraOptions = {}): Lora {
  const lookup = tensorLookup(model);
  const unmatched: { key: string; reason: string }[] = [];
  const modules = new Map<string, Map<LoraPart, string>>();
  for (const key of file.tensors.keys()) {
    if (/\.oft_(blocks|diag|R\b)/.test(key)) throw orthogonal(file, key);
    const parsed = parseLoraKey(key, file.tensors);
    if (!parsed) {
      unmatched.push({ key, reason: "not a key of any layout that is known" });
      continue;
    }
    const parts = modules.get(parsed.module) ?? new Map<LoraPart, string>();
    modules.set(parsed.module, parts.set(parsed.part, key));
  }
  const alphas = configuredAlphas(file, options);
  const targets: LoraTarget[] = [];
  const misfits: string[] = [];
  for (const [module, keys] of modules) {
    const tensor = lookup(module);
    if (!tensor) {
      for (const key of keys.values()) unmatched.push({ key, reason: "the model has no such module" });
      continue;
    }
    const alpha = alphas(tensor);
    const { weight, bias } = byTensor(keys);
    const biasTensor = biasOf(tensor, model);
    const add = (tensor: AdaptedTensor, keys: ReadonlyMap<LoraPart, string>) => {
      if (keys.size === 0) return;
      const target = targetOf(file, tensor, keys, alpha);
      if (target) targets.push(target);
      else misfits.push(misfit(file, tensor, keys));
    };
    add(tensor, weight);
    if (biasTensor) add(biasTensor, bias);
    else
      for (const [part, key] of bias)
        if (!weight.has(part)) unmatched.push({ key, reason: "the model's module has no bias" });
  }
  if (misfits.length > 0) throw wrongBase(file, model, misfits, unmatched.length);
  if (targets.length === 0) throw nothingFits(file, modules.size, unmatched);
  return { targets, unmatched };
}

/** An adapter whose file is open. */
export interface OpenLora extends Lora {
  /** A key for caches, as that of a checkpoint. */
  readonly id: string;
  close(): void;
}

/** Files of a repository's folder that hold its LoRA, as diffusers and PEFT name them. */
const fileNames = ["pytorch_lora_weights", "adapter_model"].flatMap((name) => [
  `${name}.safetensors`,
  `${name}.bin`,
]);

/**
 * Opens a LoRA for a model: a file in either format, or a folder that diffusers or PEFT wrote. The adapter_config.json
 * beside it is read where there is one. Close it when no delta is needed any more.
 *
 * @throws DiffusionError as `openTensorFile` and `matchLora`
 */
export function openLora(path: string, model: AdaptedModel): OpenLora {
  const inside = fileNames.map((name) => join(path, name)).find((name) => existsSync(name));
  const file = openTensorFile(inside ?? path);
  try {
    const config = join(dirname(file.path), "adapter_config.json");
    const options = existsSync(config) ? { config: readJsonObject(config) } : {};
    const id = contentId([file], options);
    return { ...matchLora(file, model, options), id, close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** An adapter in use. Networks may have different strengths, as in `<lora:name:0.8:0.5>`. */
export interface LoraUse {
  readonly lora: Lora;
  readonly scale: number | { readonly [network in AdaptedNetwork]?: number };
}

/** What happens to one tensor: the adapters' changes, in the order in which they were added. */
export type Contributions = readonly { readonly target: LoraTarget; readonly scale: number }[];

/** The tensors that a set of adapters touches, by network and name; all others stay as they are. */
export function planMerge(uses: readonly LoraUse[]): Map<AdaptedNetwork, Map<string, Contributions>> {
  const plan = new Map<AdaptedNetwork, Map<string, { target: LoraTarget; scale: number }[]>>();
  for (const { lora, scale } of uses)
    for (const target of lora.targets) {
      const factor = typeof scale === "number" ? scale : (scale[target.network] ?? 0);
      if (factor === 0) continue;
      const network = plan.get(target.network) ?? new Map<string, { target: LoraTarget; scale: number }[]>();
      plan.set(target.network, network);
      const changes = network.get(target.name) ?? [];
      changes.push({ target, scale: factor });
      network.set(target.name, changes);
    }
  return plan;
}

/**
 * A weight with adapters merged in, one after the other: W + sum of scale * delta, and DoRA's renormalisation.
 * @param original float32 in PyTorch's layout; not changed
 */
export function adaptWeight(
  original: Float32Array,
  changes: Contributions,
  matMul: MatMul = plainMatMul,
): Float32Array {
  const weight = new Float32Array(original);
  for (const { target, scale } of changes) target.apply(weight, scale, matMul);
  return weight;
}

/** All changes of a tensor as two thin matrices, if each of them is. */
export function lowRankChange(changes: Contributions): LowRank | undefined {
  const products = changes.flatMap(({ target, scale }) => {
    const change = target.lowRank?.();
    return change ? [{ ...change, factor: scale * change.factor }] : [];
  });
  return products.length > 0 && products.length === changes.length ? sumLowRank(products) : undefined;
}

/** A module's keys, those that change its weight and those that change its bias. */
function byTensor(keys: ReadonlyMap<LoraPart, string>): {
  weight: ReadonlyMap<LoraPart, string>;
  bias: ReadonlyMap<LoraPart, string>;
} {
  const weight = new Map(keys);
  const bias = new Map<LoraPart, string>();
  for (const part of ["bias_diff", "up_bias"] as const) {
    const key = weight.get(part);
    if (key !== undefined) bias.set(part, key);
    weight.delete(part);
  }
  // PEFT's is scaled as the product that it is added to.
  const ofProduct = (["down", "alpha"] as const).flatMap((part) => {
    const key = bias.has("up_bias") ? weight.get(part) : undefined;
    return key === undefined ? [] : [[part, key] as const];
  });
  return { weight, bias: new Map([...bias, ...ofProduct]) };
}

type Alpha = { readonly alpha: number; readonly rootRank: boolean } | undefined;

function targetOf(
  file: AdapterFile,
  tensor: AdaptedTensor,
  keys: ReadonlyMap<LoraPart, string>,
  configured: Alpha,
): LoraTarget | undefined {
  const shapes: PartShapes = Object.fromEntries(
    [...keys].map(([part, key]) => [part, file.tensors.get(key)!.shape]),
  );
  const plan = planDelta(shapes, tensor.shape);
  const axis = magnitudeAxis(shapes, tensor.shape);
  if (!plan || axis === "misfit") return undefined;

  const read = (part: LoraPart): Values | undefined => {
    const key = keys.get(part);
    return key === undefined
      ? undefined
      : { shape: file.tensors.get(key)!.shape, data: file.readFloat32(key) };
  };
  const strength = strengthOf(plan.rank, read("alpha")?.data[0], configured);
  const parts = (): PartValues =>
    Object.fromEntries([...keys.keys()].filter((part) => part !== "alpha").map((part) => [part, read(part)]));
  const { factors } = plan;
  return {
    ...tensor,
    method: plan.method,
    rank: plan.rank,
    decomposed: axis !== undefined,
    ...(factors && axis === undefined && { lowRank: () => ({ ...factors(parts()), factor: strength }) }),
    apply(weight, scale, matMul = plainMatMul) {
      if (scale === 0) return;
      const change = plan.compute(parts(), matMul, weight);
      const factor = scale * strength;
      for (let i = 0; i < weight.length; i++) weight[i] = weight[i]! + factor * change[i]!;
      if (axis !== undefined)
        renormalise(weight, tensor.shape, axis, (read("magnitude") ?? read("dora_scale"))!.data);
    },
  };
}

/** alpha / rank (rank-stabilised: alpha / sqrt(rank)); no alpha means alpha = rank. */
function strengthOf(rank: number | undefined, alpha: number | undefined, configured: Alpha): number {
  if (rank === undefined) return 1;
  if (alpha !== undefined) return alpha / rank;
  if (configured === undefined) return 1;
  return configured.alpha / (configured.rootRank ? Math.sqrt(rank) : rank);
}

/**
 * DoRA keeps a length for each output (PEFT: [out], for kernels [1, out, 1, 1]; newer LyCORIS: [out, 1, ...]) or for
 * each input channel (older LyCORIS: [1, in, ...]).
 */
function magnitudeAxis(
  { magnitude, dora_scale: scale }: PartShapes,
  [out = 0, channels = 0]: readonly number[],
): 0 | 1 | undefined | "misfit" {
  const size = (magnitude ?? scale)?.reduce((product, n) => product * n, 1);
  if (size === undefined) return undefined;
  if (size === out && (magnitude || scale?.[0] === out)) return 0;
  return size === channels && scale?.[0] === 1 && scale[1] === channels ? 1 : "misfit";
}

/** Gives every row (or input channel) of a weight the length that DoRA learned: W * m / |W|. */
function renormalise(
  weight: Float32Array,
  [out = 0, channels = 0]: readonly number[],
  axis: 0 | 1,
  magnitude: Float32Array,
): void {
  const kernel = weight.length / (out * channels);
  const groupOf = (i: number) =>
    axis === 0 ? Math.floor(i / (channels * kernel)) : Math.floor(i / kernel) % channels;
  const squares = new Float64Array(magnitude.length);
  for (let i = 0; i < weight.length; i++) squares[groupOf(i)]! += weight[i]! ** 2;
  const factors = magnitude.map((length, i) => (squares[i] === 0 ? 0 : length / Math.sqrt(squares[i]!)));
  for (let i = 0; i < weight.length; i++) weight[i] = weight[i]! * factors[groupOf(i)]!;
}

/**
 * PEFT's alpha, from adapter_config.json or from the metadata that diffusers writes (`unet.lora_alpha`), with its
 * exceptions for single modules (`alpha_pattern`).
 */
function configuredAlphas(file: AdapterFile, options: LoraOptions): (tensor: AdaptedTensor) => Alpha {
  const metadata = file.metadata?.get("lora_adapter_metadata");
  const stored = metadata === undefined ? undefined : jsonOrUndefined(metadata);
  return ({ network, name }) => {
    const module = name.replace(/\.weight$/, "");
    const find = (name: string): Json | undefined =>
      isJsonObject(stored) ? (stored[`${network}.${name}`] ?? stored[name]) : options.config?.[name];
    const pattern = find("alpha_pattern");
    const special = isJsonObject(pattern)
      ? Object.entries(pattern).find(([name]) => modulePattern(name, file.path).test(module))?.[1]
      : undefined;
    const alpha = special ?? find("lora_alpha");
    return typeof alpha === "number" ? { alpha, rootRank: find("use_rslora") === true } : undefined;
  };
}

/**
 * PEFT reads the names in its patterns as regular expressions, for the end of a module's path. A stranger's expression
 * could search for ever, so only the simple ones that people write are run.
 *
 * @throws DiffusionError UNSUPPORTED
 */
function modulePattern(name: string, path: string): RegExp {
  const pieces = /^(?:\^)?(?:[\w.-]|\\[.d]|\(\?:|[|()$]|\.[*+]|\\d\+)*$/;
  const wildcards = name.match(/[*+]/g)?.length ?? 0;
  try {
    if (pieces.test(name) && wildcards <= 3) return new RegExp(`^(?:.*\\.)?(?:${name})$`);
  } catch {
    // not balanced: said below
  }
  throw new DiffusionError("UNSUPPORTED", `${path}: the alpha_pattern ${quoted(name)} is not understood`, {
    hint: "Names of modules, |, .* and .+ can be used, three of the last two at most.",
  });
}

function jsonOrUndefined(text: string): Json | undefined {
  try {
    return parseJson(text, "python");
  } catch {
    return undefined; // metadata is a note of the author's, not a part of the format
  }
}

function misfit(file: AdapterFile, tensor: AdaptedTensor, keys: ReadonlyMap<LoraPart, string>): string {
  const shapes = [...keys.values()].map((key) => `${key} [${file.tensors.get(key)!.shape}]`);
  return `${shapes.join(", ")} for ${tensor.network}.${tensor.name} [${tensor.shape}]`;
}

const SHOWN = 8;

const supported =
  "LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, IA3 and whole differences for Stable Diffusion 1, 2 and XL can be used.";

/** The message shows some of the keys, the cause (`--debug`) all of them. */
function wrongBase(
  file: AdapterFile,
  model: AdaptedModel,
  misfits: readonly string[],
  unmatched: number,
): DiffusionError {
  const more = misfits.length > SHOWN ? `\n  and ${misfits.length - SHOWN} more` : "";
  const made = familyOf(adapterWidth(file));
  const ours = familyOf(modelWidth(model));
  return new DiffusionError(
    "WEIGHT_SHAPE",
    `${file.path} does not fit this model: ${misfits.length} of its modules are of another shape or incomplete\n  ${misfits.slice(0, SHOWN).join("\n  ")}${more}${unmatched > 0 ? `\n  ${unmatched} keys name no module of this model` : ""}`,
    {
      cause: new Error(`keys that do not fit:\n${misfits.join("\n")}`),
      hint:
        made && ours && made !== ours
          ? `It was made for ${made}; this model is ${ours}.`
          : "Use an adapter that was made for this model's family.",
    },
  );
}

function nothingFits(file: AdapterFile, modules: number, unmatched: Lora["unmatched"]): DiffusionError {
  const keys = unmatched.slice(0, SHOWN).map(({ key }) => key);
  const what = modules > 0 ? "names no module of this model" : "is no LoRA";
  return new DiffusionError("MODEL_KIND", `${file.path} ${what}; it holds ${keys.join(", ") || "nothing"}`, {
    hint: supported,
  });
}

const orthogonal = (file: AdapterFile, key: string): DiffusionError =>
  new DiffusionError(
    "UNSUPPORTED",
    `${file.path} turns weights by orthogonal matrices (OFT, BOFT), which is not supported; it holds ${key}`,
    { hint: supported },
  );

/** Width of the text embedding that a UNet attends to, which tells the families apart. */
const families = new Map([
  [768, "Stable Diffusion 1"],
  [1024, "Stable Diffusion 2"],
  [2048, "Stable Diffusion XL"],
]);
const familyOf = (width: number | undefined): string | undefined =>
  width === undefined ? undefined : families.get(width);

function modelWidth(model: AdaptedModel): number | undefined {
  for (const [name, { shape }] of model.unet ?? []) if (name.endsWith("attn2.to_k.weight")) return shape[1];
  return undefined;
}

function adapterWidth(file: AdapterFile): number | undefined {
  for (const [key, { shape }] of file.tensors) {
    const parsed = parseLoraKey(key);
    if (parsed?.part === "down" && /attn2[._](processor\.)?to_k$/.test(parsed.module)) return shape[1];
  }
  return undefined;
}
