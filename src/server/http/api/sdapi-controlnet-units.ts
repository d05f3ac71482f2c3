import { firstProblem } from "../../../expectations.js";
import { Refusal } from "../../refusal.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";
import { controlModes, type Unit, unit } from "./sdapi-unit-schema.js";

/* The units of the web UI's ControlNet extension, as requests have them in `alwayson_scripts.controlnet.args`. */

export const isControlNet = (script: string): boolean => script.toLowerCase() === "controlnet";

/** What a request gives as units. Older versions begin with words of whether the page asks, which are not objects. */
const argumentsOf = (scripts: Readonly<Record<string, unknown>>): unknown[] =>
  Object.entries(scripts).flatMap(([name, script]) => {
    if (!isControlNet(name)) return [];
    const args = Array.isArray(script) ? script : (script as { args?: unknown } | null)?.args;
    return Array.isArray(args) ? args : [];
  });

/** Fields of units that are switched on, of which nothing is known here: "alwayson_scripts.controlnet.args.0.lowvram". */
export const unknownUnitFields = (scripts: Readonly<Record<string, unknown>>): string[] =>
  argumentsOf(scripts).flatMap((arg, i) =>
    arg === null || typeof arg !== "object" || (arg as { enabled?: unknown }).enabled === false
      ? []
      : Object.keys(arg)
          .filter((field) => !(field in unit.shape))
          .map((field) => `alwayson_scripts.controlnet.args.${i}.${field}`),
  );

/** The units of a request that are switched on. */
export function unitsOf(scripts: Readonly<Record<string, unknown>>): Unit[] {
  return argumentsOf(scripts).flatMap((arg, i) => {
    if (arg === null || typeof arg === "boolean") return [];
    if (typeof arg !== "object")
      throw new Refusal(
        422,
        "BAD_OPTION",
        `alwayson_scripts.controlnet.args.${i}: expected a unit, an object`,
      );
    if ((arg as { enabled?: unknown }).enabled === false) return [];
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

const fits = ["stretch", "crop", "fill"] as const;
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
  if (isGiven(unit.invert_image)) refuse("invert_image", "choose the module invert");
  if (isGiven(unit.rgbbgr_mode)) refuse("rgbbgr_mode");
  const passes = unit.hr_option ?? "Both";
  if ("enable_hr" in request && request.enable_hr && passes.toLowerCase() !== "both")
    refuse(`hr_option ${JSON.stringify(passes.slice(0, 40))}`, "units act on both passes");
}

/** Clients send null, "" and empty lists for what they leave out. */
const isGiven = (value: unknown): boolean =>
  value != null && value !== "" && value !== false && !(Array.isArray(value) && value.length === 0);
