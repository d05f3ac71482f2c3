import { z } from "zod";
import { firstProblem } from "../../../expectations.js";
import { Refusal } from "../../refusal.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";

/* The units of the web UI's ControlNet extension, as requests have them in `alwayson_scripts.controlnet.args`. */

export const isControlNet = (script: string): boolean => script.toLowerCase() === "controlnet";

const resizeModes = ["Just Resize", "Crop and Resize", "Resize and Fill"];
/** As the extension called the second and third before, in whichever order its versions wrote the words. */
const formerResizeModes: Readonly<Record<string, number>> = {
  "scale to fit (inner fit)": 1,
  "inner fit (scale to fit)": 1,
  "envelope (outer fit)": 2,
  "outer fit (shrink to fit)": 2,
};
const fits = ["stretch", "crop", "fill"] as const;
const controlModes = ["Balanced", "My prompt is more important", "ControlNet is more important"];

const picture = z.string().nullish();
export const number = (usual: number) => z.number().nullish().transform((given) => given ?? usual); // biome-ignore format: a pair
/** Said by its number or in words. */
const choice = (words: readonly string[], usual: number, former: Readonly<Record<string, number>> = {}) =>
  z
    .union([z.number().int(), z.string()])
    .nullish()
    .transform((given) =>
      typeof given === "string" ? (former[given.toLowerCase()] ?? words.indexOf(given)) : (given ?? usual),
    )
    .refine((index) => words[index] !== undefined, `expected one of ${words.join(", ")}`);

const unit = z.object({
  enabled: z.boolean().nullish(),
  module: z.string().nullish(),
  model: z.string().nullish(),
  weight: number(1).pipe(z.number().min(0).max(2)),
  image: z.union([z.string(), z.object({ image: z.string(), mask: picture })]).nullish(),
  input_image: picture,
  mask: picture,
  mask_image: picture,
  resize_mode: choice(resizeModes, 1, formerResizeModes),
  control_mode: choice(controlModes, 0),
  processor_res: number(-1),
  /** The resolution follows from the size that is asked for. */
  pixel_perfect: z.boolean().nullish(),
  threshold_a: number(-1),
  threshold_b: number(-1),
  save_detected_map: z.boolean().nullish(),
  guidance_start: number(0),
  guidance_end: z.number().nullish(),
  /** The older name. */
  guidance: z.number().nullish(),
  /** Before there were control modes: the last of them. */
  guess_mode: z.boolean().nullish(),
  guessmode: z.boolean().nullish(),
  /** Which of the passes of a hires fix. */
  hr_option: z.string().nullish(),
  advanced_weighting: z.array(z.unknown()).nullish(),
  effective_region_mask: z.unknown().optional(),
  ipadapter_input: z.unknown().optional(),
  batch_images: z.unknown().optional(),
});
export type Unit = z.infer<typeof unit>;

/** The units of a request that are switched on. */
export function unitsOf(scripts: Readonly<Record<string, unknown>>): Unit[] {
  const given = Object.entries(scripts).flatMap(([name, script]) => {
    if (!isControlNet(name)) return [];
    const args = Array.isArray(script) ? script : (script as { args?: unknown } | null)?.args;
    return Array.isArray(args) ? args : [];
  });
  return given.flatMap((arg: unknown, i) => {
    if (typeof arg !== "object" || arg === null || (arg as { enabled?: unknown }).enabled === false)
      return [];
    const result = unit.safeParse(arg);
    if (!result.success) {
      const { path, message } = firstProblem(result.error, arg);
      throw new Refusal(422, "BAD_OPTION", `alwayson_scripts.controlnet.args.${i}.${path}: ${message}`);
    }
    const { model } = result.data;
    if (!model || model === "None")
      throw new Refusal(422, "BAD_OPTION", `alwayson_scripts.controlnet.args.${i}.model: a model is needed`, {
        hint: "GET /controlnet/model_list names them",
      });
    return [result.data];
  });
}

/** "ControlNet is more important", which was called guess mode before. */
export const isGuess = ({ control_mode, guess_mode, guessmode }: Unit): boolean =>
  control_mode === 2 || guess_mode === true || guessmode === true;

export const fitOf = ({ resize_mode }: Unit) => fits[resize_mode]!;

/** @throws Refusal for what would change the picture and is not there */
export function refuseUnsupportedUnit(unit: Unit, request: Txt2img | Img2img): void {
  const refuse = (what: string, hint?: string): never => {
    throw new Refusal(
      422,
      "UNSUPPORTED",
      `ControlNet: this server does not have ${what}`,
      hint ? { hint } : {},
    );
  };
  if (unit.control_mode === 1)
    refuse(`"${controlModes[1]}"`, `choose ${controlModes[0]} or ${controlModes[2]}`);
  if (unit.mask || unit.mask_image || (typeof unit.image === "object" && unit.image?.mask))
    refuse("masks of units");
  if (isGiven(unit.effective_region_mask)) refuse("effective_region_mask");
  if (isGiven(unit.advanced_weighting)) refuse("advanced_weighting", "weight is one number for all layers");
  if (isGiven(unit.ipadapter_input)) refuse("ipadapter_input");
  if (isGiven(unit.batch_images)) refuse("batch_images");
  const passes = unit.hr_option ?? "Both";
  if ("enable_hr" in request && request.enable_hr && passes.toLowerCase() !== "both")
    refuse(`hr_option ${JSON.stringify(passes.slice(0, 40))}`, "units act on both passes");
}

/** Clients send null, "" and empty lists for what they leave out. */
const isGiven = (value: unknown): boolean =>
  value != null && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0);
