import {
  formatParameters,
  type GenerateResult,
  type Parameters,
  type ResolvedOptions,
  samplerPair,
} from "../index.js";
import { version } from "./session.js";

/** Generators under the web UI's names. */
const rngLabels = { torch: "CPU", philox: "NV", seedrandom: "seedrandom" };

/** The web UI's labels of schedule types that are not just our name with capitals. */
const scheduleLabels: Record<string, string> = {
  sgm_uniform: "SGM Uniform",
  kl_optimal: "KL Optimal",
  ddim_uniform: "DDIM",
};

/**
 * The text that AUTOMATIC1111's web UI would write into a picture, to make it again there or here.
 *
 * @param made what made the picture: the first of the result's images is meant
 */
export function infotext(made: {
  readonly result: GenerateResult;
  readonly model: string;
  /** As chosen by the user; absent for the model's own. */
  readonly scheduler: string | undefined;
}): string {
  const { options, seeds } = made.result;
  const { rng, eta, guidanceRescale, clipSkip, strength, negativePrompts } = options;
  const { variation, hires, inpainting } = options;
  const negativePrompt = negativePrompts[0];
  const parameters: Parameters = {
    prompt: options.prompts[0]!,
    ...(negativePrompt && { negativePrompt }),
    steps: options.steps,
    ...samplerOf(options, made.scheduler),
    ...(options.mode !== "unconditional" && { guidance: options.guidance }),
    seed: seeds[0]!,
    size: { width: options.width, height: options.height },
    model: made.model,
    ...(strength !== undefined && { strength }),
    ...(hires && { strength: hires.strength }),
    clipSkip: clipSkip + 1, // the web UI counts from 1
    extra: {
      RNG: rngLabels[rng],
      ...(eta !== undefined && { Eta: eta }),
      ...(guidanceRescale > 0 && { "Guidance rescale": guidanceRescale }),
      ...(variation && {
        "Variation seed": String(variation.seeds[0]),
        "Variation seed strength": variation.strength,
      }),
      ...(hires && {
        "Hires resize": `${hires.width}x${hires.height}`,
        "Hires upscaler": hires.upscaler,
      }),
      ...(inpainting && { "Mask blur": inpainting.blur }),
      Version: `tfjs-diffusion ${version}`,
    },
  };
  return formatParameters(parameters);
}

function samplerOf({ scheduler: config }: ResolvedOptions, choice: string | undefined) {
  if (config === "custom") return { sampler: config };
  const { sampler, schedule } = samplerPair(choice ?? String(config._class_name));
  const name = schedule ?? (config.use_karras_sigmas ? "karras" : undefined);
  return { sampler, ...(name && { scheduleType: scheduleLabels[name] ?? capitals(name) }) };
}

const capitals = (name: string): string =>
  name.replace(/(^|_)(\w)/g, (_all, gap: string, letter: string) => `${gap && " "}${letter.toUpperCase()}`);
