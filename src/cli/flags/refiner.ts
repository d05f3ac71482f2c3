import { DiffusionError } from "../../errors.js";
import {
  type GenerateOptions,
  type GenerateResult,
  generate,
  generateRefined,
  type LoadOptions,
} from "../../index.js";
import { divided } from "../../options/divided.js";

export interface RefinerFlags {
  refiner?: string;
  refinerSwitch?: number;
}

type Asked = GenerateOptions & LoadOptions & { model?: string };

/** The web UI's, and where diffusers' example of SDXL's refiner hands over. */
const usualSwitch = 0.8;

/** Which model finishes pictures, and from which share of the noise schedule on; undefined: the one that begins them. */
export function refinerOf({
  refiner,
  refinerSwitch,
}: RefinerFlags): { model: string; switchAt: number } | undefined {
  if (refiner !== undefined) return { model: refiner, switchAt: refinerSwitch ?? usualSwitch };
  if (refinerSwitch !== undefined) throw new DiffusionError("BAD_OPTION", "--refiner-switch needs --refiner");
  return undefined;
}

/** How a picture is made: by one model, or begun by it and finished by another. */
export function makerOf(refiner: ReturnType<typeof refinerOf>): (options: Asked) => Promise<GenerateResult> {
  if (!refiner) return generate;
  const { model: second, switchAt } = refiner;
  return ({ model, ...options }) => {
    const { asked, load } = divided(options);
    // What is said of the first model's file or place would be wrong of the second's.
    const { config, prediction, revision, ...ofBoth } = load;
    return generateRefined(
      { generate: (one) => generate({ ...load, ...one, ...(model !== undefined && { model }) }) },
      { generate: (one) => generate({ ...ofBoth, ...one, model: second }) },
      { ...asked, switchAt },
    );
  };
}
