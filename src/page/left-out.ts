import { furtherNames, furtherNumbers } from "./axes.js";
import type { GenerateView } from "./server.js";
import type { Settings } from "./settings.js";

/** Fields of a picture's text that the forms have, or whose loss changes no picture. */
const takenOver: ReadonlySet<string> = new Set([
  ...["Prompt", "Negative prompt", "Steps", "CFG scale", "Seed", "Size", "Denoising strength"],
  ...["Sampler", "Schedule type", "RNG", "Model", "Precision", "PAG", "FreeU", "Outpaint", "Pad conds"],
  ...["Variation seed", "Variation seed strength"],
  ...["Mask blur", "Masked content", "Masked area padding", "Inpaint area", "Soft mask"],
  ...["Hires upscale", "Hires resize", "Hires steps", "Hires upscaler"],
  ...furtherNames.map((name) => furtherNumbers[name].field),
  // What they name is in the prompt, or in another field.
  ...["Model hash", "VAE hash", "Hashes", "Lora hashes", "TI hashes", "Init image hash"],
  ...["Version", "User", "Interrupted", "Hires Module 1"],
]);

/** The web UI's ways to say that something is off, or as it is anyway. */
const nothing: ReadonlySet<string> = new Set(["", "0", "0.0", "false", "none", "automatic", "original"]);

/**
 * Names of the settings in a picture's text that no form takes over: the picture would come out differently.
 *
 * @param fields as `/sdapi/v1/png-info` gives them
 * @param found what was made of them
 */
export function leftOut(
  fields: Readonly<Record<string, string>>,
  found: Pick<Partial<Settings>, "scheduler" | "schedule" | "rng">,
): readonly string[] {
  const says = (name: string) => !nothing.has((fields[name] ?? "").trim().toLowerCase());
  const unknown = Object.keys(fields)
    .filter((name) => says(name) && !takenOver.has(name.replace(/-[12]$/, "")))
    // Of a size there are two.
    .map((name) => name.replace(/-[12]$/, ""));
  const schedule = fields["Schedule type"]?.toLowerCase() ?? "";
  const isSame = schedule === "uniform" || schedule === "";
  return [
    ...new Set([
      ...unknown,
      ...(says("Sampler") && !found.scheduler ? ["Sampler"] : []),
      ...(says("Schedule type") && !isSame && !found.schedule ? ["Schedule type"] : []),
      ...(says("RNG") && !found.rng ? ["RNG"] : []),
      ...(/^\S+ (?!mid$)/.test(fields.PAG ?? "") ? ["PAG"] : []),
    ]),
  ];
}

/** Options of a job that no form has: made again from it, the picture would come out differently. */
const withoutField = [
  ...(["vae", "emphasis", "guidanceInterval", "tokenMerging", "deepCache"] as const),
  ...(["eta", "exactSteps", "webuiSteps"] as const),
  ...(["maskInvert", "maskBlurSide", "maskBlurY", "seamStrength", "seedSize"] as const),
] satisfies readonly (keyof GenerateView)[];

const scores = ["aestheticScore", "negativeAestheticScore"] as const;

/** Names of the options of a job that no form takes over. @param request as the history has it */
export function leftOutOfJob(request: GenerateView): readonly string[] {
  const says = (value: unknown) => value !== undefined && value !== false && value !== 0;
  return [
    ...withoutField.filter((name) => says(request[name])),
    // Only pictures that are made or changed as a whole have fields for them.
    ...(request.mask || request.expand ? scores.filter((name) => says(request[name])) : []),
    // Nothing is drawn then; the forms leave a strength of 0 to the library.
    ...(request.strength === 0 ? ["strength"] : []),
    // Prompts of the page have the web UI's weights.
    ...(request.promptSyntax === undefined || request.promptSyntax === "a1111" ? [] : ["promptSyntax"]),
  ];
}
