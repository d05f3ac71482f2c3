import { demand } from "../errors.js";
import { formatParameters, type Parameters } from "../image/parameters.js";
import type { Preprocessor } from "../image/preprocess.js";
import { samplerPair } from "../schedulers/catalog.js";
import type { Precision } from "./choices.js";
import type { ControlInput } from "./control-options.js";
import { descriptions } from "./options.js";
import type { ResolvedOptions } from "./resolved.js";
import { webuiUpscalerName } from "./upscaler-names.js";

/** What made a picture. */
export interface Making {
  /** `options` of the result. */
  readonly options: ResolvedOptions;
  /** The model's name. */
  readonly model: string;
  /** Which of the call's pictures, default 0. */
  readonly image?: number;
  /** Of the picture, where a part of a larger one was repainted; default: the size generated at. */
  readonly size?: { readonly width: number; readonly height: number };
  readonly precision?: Precision;
  /** SHA-256 of the files that it was made with beside the model, by kind and name: "lora:ink". */
  readonly hashes?: Readonly<Record<string, string>>;
  /** The model that finished what the other had begun, and at which share of the noise schedule. */
  readonly refiner?: { readonly model: string; readonly switchAt: number };
  /** It was stopped before all steps had run. Default: what `options` say. */
  readonly stopped?: boolean;
  /** What wrote it, such as "tfjs-diffusion 0.1.0". */
  readonly version?: string;
}

/** Generators under the web UI's names. */
const rngLabels = { torch: "CPU", philox: "NV", seedrandom: "seedrandom" };

/** The web UI's labels of schedule types that are not just our name with capitals. */
const scheduleLabels: Record<string, string> = {
  sgm_uniform: "SGM Uniform",
  kl_optimal: "KL Optimal",
  ddim_uniform: "DDIM",
};

/**
 * The text that AUTOMATIC1111's web UI would write into a picture (PNG text "parameters"), to make it again there or
 * here. Settings stand under the web UI's names where it has them.
 */
export function infotext(making: Making): string {
  demand("infotext", making, "object");
  demand("options", making.options, "object");
  for (const name of ["prompts", "negativePrompts"] as const)
    demand(`options.${name}`, making.options[name], "list");
  const { options, model, image = 0, size, precision, hashes = {}, stopped, version, refiner } = making;
  const { mode, rng, strength, hires } = options;
  const negativePrompt = options.negativePrompts[image];
  const parameters: Parameters = {
    prompt: options.prompts[image] ?? "",
    ...(negativePrompt && { negativePrompt }),
    steps: options.steps,
    ...samplerOf(options),
    // The web UI counts skipped layers from 1.
    ...(mode !== "unconditional" && { guidance: options.guidance, clipSkip: options.clipSkip + 1 }),
    ...(options.seeds[image] !== undefined && { seed: options.seeds[image] }),
    // With a second pass the first one's, as the web UI has it.
    size: (!hires && size) || { width: options.width, height: options.height },
    model,
    ...(strength !== undefined && { strength }),
    ...(hires && { strength: hires.strength }),
    extra: {
      RNG: rngLabels[rng],
      ...(precision && precision !== "fp32" && { Precision: precision.toUpperCase() }),
      ...extrasOf(options, image),
      ...labelled(options),
      ...(refiner && { Refiner: refiner.model, "Refiner switch at": refiner.switchAt }),
      ...(Object.keys(hashes).length > 0 && { Hashes: hashesOf(hashes) }),
      ...((stopped ?? options.stopped?.includes(image)) && { Interrupted: "true" }),
      ...(version && { Version: version }),
    },
  };
  return formatParameters(parameters);
}

/** As the web UI's extension for Civitai has them: the first ten digits of each, as JSON. */
const hashesOf = (hashes: Readonly<Record<string, string>>): string =>
  JSON.stringify(Object.fromEntries(Object.entries(hashes).map(([name, hash]) => [name, hash.slice(0, 10)])));

/** The options that stand there under a name of their own, unless they are as they always are. */
function labelled(options: ResolvedOptions): Record<string, string | number> {
  const entries = descriptions.flatMap(([name, { label, fallback, inText }]) => {
    const value: unknown = Reflect.get(options, name);
    if (!label || value === undefined || value === fallback) return [];
    return [[label, inText ? inText(value) : String(value)]];
  });
  return Object.fromEntries(entries);
}

function extrasOf(options: ResolvedOptions, image: number): Record<string, string | number> {
  const { imageGuidance, variation, seedSize, inpainting, outpainting, hires } = options;
  const { margins } = outpainting ?? {};
  return {
    ...(imageGuidance !== undefined && { "Image CFG scale": imageGuidance }),
    ...(variation && {
      "Variation seed": String(variation.seeds[image]),
      "Variation seed strength": variation.strength,
    }),
    ...(seedSize && { "Seed resize from": `${seedSize.width}x${seedSize.height}` }),
    ...(inpainting && { "Mask blur": inpainting.blur, "Masked content": inpainting.content }),
    ...(inpainting?.bothSides && {
      "Mask blur side": "both",
      ...(inpainting.bothSides.columns !== inpainting.blur && {
        "Mask blur Y": inpainting.bothSides.columns,
      }),
    }),
    ...(inpainting?.padding !== undefined && {
      "Inpaint area": "Only masked",
      "Masked area padding": inpainting.padding,
    }),
    ...(margins && { Outpaint: [margins.left, margins.top, margins.right, margins.bottom].join(" ") }),
    ...(hires && {
      ...(hires.scale === undefined
        ? { "Hires resize": `${hires.width}x${hires.height}` }
        : { "Hires upscale": hires.scale }),
      "Hires upscaler": webuiUpscalerName(hires.upscaler),
      ...(hires.steps !== undefined && { "Hires steps": hires.steps }),
    }),
    ...followedBy("ControlNet", options.controlnet),
    ...followedBy("IP-Adapter", options.ipAdapter),
  };
}

/** The pictures that were followed, each as the web UI's extension for ControlNet has it: "Module: canny, Model: …". */
function followedBy(
  label: string,
  inputs: readonly Partial<Omit<ControlInput, "image" | "mask">>[] = [],
): Record<string, string> {
  const texts = inputs.map(({ model = "", preprocess = [], scale = 1, start = 0, end = 1, guess }) => {
    const steps = ([preprocess].flat() as Preprocessor[]).map((step) =>
      typeof step === "string" ? step : step.name,
    );
    const settings = {
      ...(label === "ControlNet" && { Module: steps.join("+") || "none" }),
      // Not where on this machine.
      ...(model && { Model: model.split(/[/\\]/).at(-1)! }),
      Weight: scale,
      "Guidance Start": start,
      "Guidance End": end,
      ...(guess && { "Control Mode": "Guess" }),
    };
    return Object.entries(settings)
      .map(([key, value]) => `${key}: ${value}`)
      .join(", ");
  });
  return Object.fromEntries(texts.map((text, i) => [`${label} ${i}`, text]));
}

/** The web UI's names of what was asked for or is the model's default, else of its own scheduler. */
function samplerOf({ scheduler: config, schedulerName }: ResolvedOptions) {
  if (config === "custom") return { sampler: config };
  const { sampler, schedule } = samplerPair(schedulerName ?? String(config._class_name));
  const name = schedule ?? (config.use_karras_sigmas ? "karras" : undefined);
  return { sampler, ...(name && { scheduleType: scheduleLabels[name] ?? capitals(name) }) };
}

const capitals = (name: string): string =>
  name.replace(/(^|_)(\w)/g, (_all, gap: string, letter: string) => `${gap && " "}${letter.toUpperCase()}`);
