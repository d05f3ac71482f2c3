import {
  formatParameters,
  type Parameters,
  type ResolvedOptions,
  samplerPair,
  schedulerEntries,
} from "../index.js";
import type { ModelOption } from "./models.js";
import type { StoredGenerate } from "./request.js";

const rngLabels = { torch: "CPU", philox: "NV", seedrandom: "seedrandom" };

/** The parameters text of a picture: what the web UI would write, and what restores every setting of the page. */
export function infotext({
  resolved,
  request,
  option: { name, precision, info },
  version,
  size,
}: {
  readonly resolved: ResolvedOptions;
  readonly request: StoredGenerate;
  readonly option: ModelOption;
  readonly version: string;
  /** Of the picture; larger than what was generated at when a part of a larger one was repainted. */
  readonly size: { readonly width: number; readonly height: number };
}): string {
  const { sampler, schedule } = schedulerLabels(resolved, request);
  const text = info.kind !== "unconditional";
  const parameters: Parameters = {
    prompt: resolved.prompts[0] ?? "",
    ...(resolved.negativePrompts[0] && { negativePrompt: resolved.negativePrompts[0] }),
    steps: resolved.steps,
    sampler,
    ...(schedule && { scheduleType: titleCase(schedule) }),
    ...(text && { guidance: resolved.guidance, clipSkip: resolved.clipSkip + 1 }),
    ...(resolved.seeds[0] !== undefined && { seed: resolved.seeds[0] }),
    size,
    model: name,
    ...(resolved.strength !== undefined && { strength: resolved.strength }),
    extra: {
      RNG: rngLabels[resolved.rng],
      ...(precision !== "fp32" && { Precision: precision.toUpperCase() }),
      ...extrasOf(resolved),
      ...(resolved.guidanceRescale > 0 && { "Guidance rescale": resolved.guidanceRescale }),
      ...(resolved.eta !== undefined && { Eta: resolved.eta }),
      Version: `tfjs-diffusion ${version}`,
    },
  };
  return formatParameters(parameters);
}

/** Under the web UI's names where it has the setting. */
function extrasOf({ variation, seedSize, inpainting, outpainting, hires }: ResolvedOptions) {
  const { margins } = outpainting ?? {};
  return {
    ...(variation && {
      "Variation seed": String(variation.seeds[0]),
      "Variation seed strength": variation.strength,
    }),
    ...(seedSize && { "Seed resize from": `${seedSize.width}x${seedSize.height}` }),
    ...(inpainting && { "Mask blur": inpainting.blur, "Masked content": inpainting.content }),
    ...(inpainting?.padding !== undefined && {
      "Inpaint area": "Only masked",
      "Masked area padding": inpainting.padding,
    }),
    ...(margins && { Outpaint: [margins.left, margins.top, margins.right, margins.bottom].join(" ") }),
    ...(hires && {
      "Hires resize": `${hires.width}x${hires.height}`,
      "Hires upscaler": hires.upscaler,
      ...(hires.steps !== undefined && { "Hires steps": hires.steps }),
    }),
  };
}

/** The web UI's names of what was asked for, else of the model's own scheduler. */
export function schedulerLabels(resolved: ResolvedOptions, { scheduler }: StoredGenerate) {
  if (typeof scheduler === "string") return samplerPair(scheduler);
  if (scheduler)
    return samplerPair({
      sampler: scheduler.sampler,
      ...(scheduler.schedule && { schedule: scheduler.schedule }),
    });
  const { scheduler: config } = resolved;
  const className = typeof config === "string" ? config : String(config._class_name);
  const entry = schedulerEntries.find((entry) => entry.className === className);
  return { sampler: entry?.label ?? className, schedule: undefined };
}

/** "sgm_uniform" as the web UI writes it: "Sgm Uniform". */
const titleCase = (text: string): string =>
  text.replaceAll("_", " ").replace(/\b\w/g, (letter) => letter.toUpperCase());
