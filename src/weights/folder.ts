import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject, readJsonObject } from "../disk/json.js";
import { DiffusionError, nearest } from "../errors.js";
import { readShardIndex } from "./checkpoint.js";
import { type Component, component, type ModelSource } from "./component.js";
import { componentFolders } from "./shared-components.js";
import { generationDefaultsFile, isShardIndex, type Naming, weightNames } from "./weight-names.js";

export interface SourceOptions {
  /** Prefers weights called `….<variant>.safetensors` (or .bin); where there are none, the plain ones are taken. */
  readonly variant?: string;
}

const text = ["unet", "vae", "text_encoder", "tokenizer", "scheduler"];
const xl = ["unet", "vae", "text_encoder_2", "tokenizer_2", "scheduler"];
const unconditional = ["unet", "scheduler"];

/** The pipelines that can be run, with the components that each needs. */
export const pipelines: ReadonlyMap<string, readonly string[]> = new Map([
  ["StableDiffusionPipeline", text],
  ["StableDiffusionImg2ImgPipeline", text],
  ["StableDiffusionInpaintPipeline", text],
  ["StableDiffusionInpaintPipelineLegacy", text],
  ["StableDiffusionInstructPix2PixPipeline", text],
  ["StableDiffusionControlNetPipeline", text],
  ["LatentConsistencyModelPipeline", text],
  ["StableDiffusionUpscalePipeline", [...text, "low_res_scheduler"]],
  ["StableDiffusionLatentUpscalePipeline", text],
  ["StableDiffusionXLPipeline", xl],
  ["StableDiffusionXLImg2ImgPipeline", xl],
  ["StableDiffusionXLInpaintPipeline", xl],
  ["LDMSuperResolutionPipeline", ["unet", "vqvae", "scheduler"]],
  ["LDMPipeline", ["unet", "vqvae", "scheduler"]],
  ["DDPMPipeline", unconditional],
  ["DDIMPipeline", unconditional],
  ["PNDMPipeline", unconditional],
]);

/** The classes that a component may have. Other components (safety checkers, watermarks) are not loaded. */
const classes: ReadonlyMap<string, readonly string[]> = new Map([
  ["unet", ["UNet2DConditionModel", "UNet2DModel"]],
  ["vae", ["AutoencoderKL", "AutoencoderTiny"]],
  ["vqvae", ["VQModel"]],
  ["text_encoder", ["CLIPTextModel", "CLIPTextModelWithProjection"]],
  ["text_encoder_2", ["CLIPTextModelWithProjection", "CLIPTextModel"]],
  ["tokenizer", ["CLIPTokenizer", "CLIPTokenizerFast"]],
  ["tokenizer_2", ["CLIPTokenizer", "CLIPTokenizerFast"]],
]);

/** Python packages that diffusers folders name. Anything else is code that comes with the model. */
const libraries = new Set(["diffusers", "transformers", "stable_diffusion"]);

/**
 * Opens a diffusers folder: reads its JSON files and finds its weights, but reads no weights yet.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT, MODEL_KIND, UNSUPPORTED
 */
export function openFolder(folder: string, options: SourceOptions = {}): ModelSource {
  const settings = readModelIndex(folder);
  const pipeline = settings._class_name as string;
  const components = readComponents(join(folder, "model_index.json"), settings);
  const has = (role: string) => components.has(role);
  for (const role of pipelines.get(pipeline)!)
    if (!has(role))
      throw new DiffusionError("FILE_FORMAT", `${folder}/model_index.json: a ${pipeline} needs a ${role}`);
  const place = componentFolders(folder, settings);
  for (const role of components.keys()) if (!isFolder(place(role))) throw lacks(folder, role, pipeline);

  const at = (role: string) =>
    openComponentFolder(place(role), { ...options, className: components.get(role)! });
  const config = (role: string) => readJsonObject(join(place(role), "scheduler_config.json"));
  const defaults = join(folder, generationDefaultsFile);
  const encoders = ["", "_2"].filter((suffix) => has(`text_encoder${suffix}`) && has(`tokenizer${suffix}`));
  return {
    path: folder,
    pipeline,
    settings,
    unet: at("unet"),
    ...(has("vae") ? { vae: at("vae") } : has("vqvae") ? { vae: at("vqvae") } : {}),
    textEncoders: encoders.map((suffix) => at(`text_encoder${suffix}`)),
    tokenizers: encoders.map((suffix) => ({ folder: place(`tokenizer${suffix}`) })),
    ...(existsSync(defaults) && {
      generationDefaults: { path: defaults, content: readJsonObject(defaults) },
    }),
    scheduler: { _class_name: components.get("scheduler")!, ...config("scheduler") },
    ...(has("low_res_scheduler") ? { lowResScheduler: config("low_res_scheduler") } : {}),
  };
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

const lacks = (folder: string, role: string, pipeline: string): DiffusionError =>
  new DiffusionError(
    "FILE_MISSING",
    `${folder} has no folder ${role}, which model_index.json names for its ${pipeline}`,
    { hint: "The download is incomplete; download the folder again." },
  );

function readModelIndex(folder: string): JsonObject {
  const path = join(folder, "model_index.json");
  if (!existsSync(path)) throw notAModel(folder);
  const settings = readJsonObject(path);
  const pipeline = settings._class_name;
  if (Array.isArray(pipeline))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${path}: the pipeline ${JSON.stringify(pipeline)} is code of its own`,
      {
        hint: "Code that comes with a model is never run.",
      },
    );
  if (typeof pipeline !== "string")
    throw new DiffusionError(
      "FILE_FORMAT",
      `${path}: expected a _class_name, got ${JSON.stringify(pipeline)}`,
    );
  const runtime = otherRuntime([pipeline]);
  if (runtime)
    throw new DiffusionError("MODEL_KIND", `${path}: the networks of a ${pipeline} are for ${runtime}`, {
      hint: "Get the model's version for PyTorch, as safetensors or .bin.",
    });
  if (!pipelines.has(pipeline)) {
    const near = nearest(pipeline, pipelines.keys());
    throw new DiffusionError("MODEL_KIND", `${path}: models of the kind ${pipeline} are not supported`, {
      hint: `${near === undefined ? "" : `The nearest is ${near}. `}Supported: ${[...pipelines.keys()].join(", ")}.`,
    });
  }
  return settings;
}

/** Role to class of the components that are present and that we load. */
function readComponents(path: string, settings: JsonObject): Map<string, string> {
  const components = new Map<string, string>();
  for (const [role, entry] of Object.entries(settings)) {
    if (!Array.isArray(entry)) continue; // a flag
    const [library, className] = entry;
    if (library === null && className === null) continue; // absent
    if (entry.length !== 2 || typeof library !== "string" || typeof className !== "string")
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path}: ${role}: expected [library, class], got ${JSON.stringify(entry)}`,
      );
    if (!libraries.has(library))
      throw new DiffusionError(
        "UNSUPPORTED",
        `${path}: ${role} needs the code "${library}" (class ${className})`,
        {
          hint: "Code that comes with a model is never run; only classes of diffusers and transformers are known.",
        },
      );
    const known = classes.get(role);
    const isScheduler = role === "scheduler" || role === "low_res_scheduler";
    if (known && !known.includes(className))
      throw new DiffusionError("UNSUPPORTED", `${path}: the class ${className} of ${role} is not supported`, {
        hint: `Supported: ${known.join(", ")}.`,
      });
    if (known || isScheduler) components.set(role, className);
  }
  return components;
}

/** Says what a folder without a model_index.json is. */
function notAModel(folder: string): DiffusionError {
  const names = isFolder(folder) ? readdirSync(folder).filter((name) => !name.startsWith(".")) : undefined;
  const error = (code: "FILE_MISSING" | "MODEL_KIND", message: string, hint: string) =>
    new DiffusionError(code, `${folder} ${message}`, { hint });
  if (!names)
    return error("FILE_MISSING", "does not exist", "Give a diffusers folder or a .safetensors file.");
  if (names.length === 0) return error("FILE_MISSING", "is empty", "Download the model again.");
  if (names.some((name) => /^(adapter_config\.json|pytorch_lora_weights\..+)$/.test(name)))
    return error("MODEL_KIND", "holds a LoRA, not a whole model", "Load a model first, then add it.");
  if (names.includes("config.json")) {
    const className = classOf(readJsonObject(join(folder, "config.json"))) ?? "unknown class";
    const hint = "Give the folder that has the model_index.json.";
    return error("MODEL_KIND", `holds one network (${className}), not a whole model`, hint);
  }
  // A repository for Core ML has its models in folders of folders, two of which are called so in all of them.
  const runtime = otherRuntime(names) ?? (names.some((name) => coreMlFolder.test(name)) ? coreMl : undefined);
  if (runtime)
    return error(
      "MODEL_KIND",
      `holds a model for ${runtime}: ${names.slice(0, 8).join(", ")}`,
      "Get the model's version for PyTorch, as safetensors or .bin.",
    );
  if (names.includes("snapshots") && names.includes("blobs")) {
    const [revision = "<revision>"] = readdirSync(join(folder, "snapshots"));
    return error("MODEL_KIND", "is a folder of the hub's cache", `Give snapshots/${revision} in it.`);
  }
  const single = names.find((name) => name.endsWith(".safetensors"));
  if (single !== undefined)
    return error("FILE_MISSING", "has no model_index.json", `If ${single} is a whole model, give that file.`);
  return error(
    "FILE_MISSING",
    `has no model_index.json; it holds ${names.slice(0, 8).join(", ")}`,
    "A diffusers folder has one at its top; download the model again, or give the folder above.",
  );
}

/** The class that a network's own config.json names. */
function classOf(config: JsonObject): string | undefined {
  const { _class_name, architectures } = config;
  if (typeof _class_name === "string") return _class_name;
  const [first] = Array.isArray(architectures) ? architectures : [];
  return typeof first === "string" ? first : undefined;
}

/**
 * Opens the folder of one component: config.json and its weights (a ControlNet, a VAE, a UNet).
 *
 * @param options.className what the model_index.json says; else the config.json says it
 * @param options.file the weights, where they are not to be looked for
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT
 */
export function openComponentFolder(
  folder: string,
  options: SourceOptions & { className?: string; file?: string } = {},
): Component {
  const config = readJsonObject(join(folder, "config.json"));
  const className = options.className ?? classOf(config);
  if (isJsonObject(config.quantization_config))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${folder}/config.json: its weights are quantised (quantization_config, ${config.quantization_config.quant_method ?? config.quantization_config.quant_type}), which is not supported`,
      { hint: "Get the model with plain weights (float16, float32), in 8-bit floats or as GGUF." },
    );
  if (className === undefined)
    throw new DiffusionError(
      "FILE_FORMAT",
      `${folder}/config.json names no class (_class_name or architectures)`,
    );
  const naming = className.startsWith("CLIP") ? "transformers" : "diffusers";
  const path = options.file ?? findWeights(folder, naming, options.variant);
  if (isShardIndex(path)) requireShards(folder, path);
  return component(className, config, { path, layout: { by: "diffusers" } });
}

/** A model of which a shard is missing is refused before minutes go into the others. */
function requireShards(folder: string, index: string): void {
  for (const shard of new Set(readShardIndex(index).values()))
    if (!existsSync(join(folder, shard)))
      throw new DiffusionError("FILE_MISSING", `${join(folder, shard)} is missing; ${index} names it`, {
        hint: "The download is incomplete; download the folder again.",
      });
}

/** Where the weights are, by the names that diffusers and transformers give them. */
function findWeights(folder: string, naming: Naming, variant: string | undefined): string {
  const names = readdirSync(folder);
  const found = weightNames([naming], variant).find((name) => names.includes(name));
  if (found !== undefined) return join(folder, found);
  const other = otherRuntime(names);
  const own = variantsOf(names);
  throw new DiffusionError(
    other ? "UNSUPPORTED" : "FILE_MISSING",
    `${folder} has no ${weightNames([naming])[0]}; it holds ${names.join(", ")}${other ? `: weights for ${other}` : ""}`,
    {
      hint: other
        ? "Get the model's version for PyTorch, as safetensors or .bin."
        : own.length > 0
          ? `Name the variant (variant, --variant): ${own.join(", ")}.`
          : "The download is incomplete; download the folder again.",
    },
  );
}

const coreMl = "Core ML";
/** By how attention is computed in it: split_einsum, split_einsum_v2, original_compiled and the like. */
const coreMlFolder = /^split_einsum(_v2)?(_compiled|_packages)?$|^original_(compiled|packages)$/;

/** What files belong to that other programs compute models with. */
const runtimes: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\.onnx(_data)?$|^Onnx/, "ONNX Runtime"],
  [/^openvino_model\.|^OV[A-Z]/, "OpenVINO"],
  [/\.ml(modelc|package)$/, coreMl],
  [/\.msgpack$|^Flax/, "Flax (JAX)"],
  [/\.(engine|plan|trt)$/, "TensorRT"],
  [/\.tflite$/, "TensorFlow Lite"],
];

/** The program that files, or a pipeline, are for; undefined for PyTorch. */
function otherRuntime(names: readonly string[]): string | undefined {
  return runtimes.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
}

/** Variants of the weights that are there and that nobody asked for, such as non_ema. */
const variantsOf = (names: readonly string[]): string[] =>
  names.flatMap(
    (name) =>
      /^(?:diffusion_pytorch_model|model|pytorch_model)\.([\w-]+)\.(?:safetensors|bin)$/.exec(name)?.[1] ??
      [],
  );
