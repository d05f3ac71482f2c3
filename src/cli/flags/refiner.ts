import { DiffusionError } from "../../errors.js";
import {
  type GenerateOptions,
  type GenerateResult,
  generate,
  generateRefined,
  type LoadOptions,
} from "../../index.js";
import { loadOptionNames } from "../../options/load.js";

export interface RefinerFlags {
  refiner?: string;
  refinerSwitch?: number;
}

type Asked = GenerateOptions & LoadOptions & { model?: string };

/** The web UI's, and where diffusers' example of SDXL's refiner hands over. */
const usualSwitch = 0.8;

/** What is said of the first model's file or place, and would be wrong of the second's. */
const ofBase = ["model", "config", "prediction", "revision"];

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
  const { model, switchAt } = refiner;
  return (options) => {
    const isOfLoading = (name: string) => name === "model" || loadOptionNames.includes(name);
    const load = picked(options, isOfLoading);
    const ofRefiner = picked(load, (name) => !ofBase.includes(name));
    return generateRefined(
      { generate: (asked) => generate({ ...load, ...asked }) },
      { generate: (asked) => generate({ ...ofRefiner, ...asked, model }) },
      { ...picked(options, (name) => !isOfLoading(name)), ...listenersOf(options), switchAt },
    );
  };
}

/** Both models, and what hands over between them, hear of these. */
const listenersOf = ({ signal, onProgress }: Asked): GenerateOptions => ({
  ...(signal && { signal }),
  ...(onProgress && { onProgress }),
});

const picked = (options: Asked, takes: (name: string) => boolean): Asked =>
  Object.fromEntries(Object.entries(options).filter(([name]) => takes(name)));
