import { randomInt } from "node:crypto";
import { DiffusionError } from "../../errors.js";
import type { GenerateOptions, LoadOptions, Seeding } from "../../index.js";
import { ownUpscalerName } from "../../options/upscaler-names.js";
import type { GenerateFlags } from "./generate-flags.js";

/** Flags that are read below or by the command itself; all others are the library's, and passed on as they are. */
const ofTheCommand = [
  ...(["promptFile", "count", "negative", "size", "maskArea", "onlyMasked", "onlyMaskedPadding"] as const),
  ...(["hiresScale", "hiresSize", "hiresStrength", "hiresSteps", "hiresUpscaler", "deepCache"] as const),
  ...(["variationSeed", "variationStrength", "control", "refiner", "refinerSwitch", "unload"] as const),
  ...(["out", "force", "preview", "quiet", "json", "debug"] as const),
] as const satisfies readonly (keyof GenerateFlags)[];

type Passed = Omit<GenerateFlags, (typeof ofTheCommand)[number]>;

/**
 * The options that flags stand for, but for the prompt and the seeds, of which each picture has its own.
 *
 * @throws DiffusionError BAD_OPTION for flags that contradict each other
 */
export function optionsOf(flags: GenerateFlags): GenerateOptions & LoadOptions & { model?: string } {
  refuseContradictions(flags);
  const { negative, size, onlyMasked, onlyMaskedPadding, deepCache, unload, control, preview } = flags;
  const isPassed = ([name]: [string, unknown]) => !ofTheCommand.some((own) => own === name);
  const hires = hiresOf(flags);
  return {
    ...(Object.fromEntries(Object.entries(flags).filter(isPassed)) as Passed),
    ...size,
    ...(negative !== undefined && { negativePrompt: negative }),
    ...(onlyMasked && { onlyMasked }),
    ...(onlyMaskedPadding !== undefined && { onlyMasked: { padding: onlyMaskedPadding } }),
    ...(Object.keys(hires).length > 0 && { hires }),
    ...(deepCache !== undefined && { deepCache: { interval: deepCache } }),
    ...(unload && { keepLoaded: false }),
    ...(control && { controlnet: control }),
    ...(preview && { preview: true }),
  };
}

function refuseContradictions({ maskArea, mask, image, size, width, height }: GenerateFlags): void {
  if (maskArea && image === undefined) throw new DiffusionError("BAD_OPTION", "--mask-area needs --image");
  if (maskArea && mask !== undefined)
    throw new DiffusionError("BAD_OPTION", "--mask-area and --mask contradict each other");
  if (size && (width !== undefined || height !== undefined))
    throw new DiffusionError("BAD_OPTION", "--size and --width or --height contradict each other");
}

const hiresOf = (flags: GenerateFlags): NonNullable<GenerateOptions["hires"]> => ({
  ...(flags.hiresScale !== undefined && { scale: flags.hiresScale }),
  ...flags.hiresSize,
  ...(flags.hiresStrength !== undefined && { strength: flags.hiresStrength }),
  ...(flags.hiresSteps !== undefined && { steps: flags.hiresSteps }),
  ...(flags.hiresUpscaler !== undefined && { upscaler: ownUpscalerName(flags.hiresUpscaler) }),
});

/** The seeds of the pictures, drawn where they are left open. */
export function seedingOf({ seed, variationSeed, variationStrength }: GenerateFlags): Seeding {
  if (variationSeed !== undefined && variationStrength === undefined)
    throw new DiffusionError("BAD_OPTION", "--variation-seed needs --variation-strength");
  const drawn = () => randomInt(2 ** 32);
  return {
    seed: seed ?? drawn(),
    ...(variationStrength !== undefined && {
      variation: { seed: variationSeed ?? drawn(), strength: variationStrength },
    }),
  };
}

/** Pictures for each prompt. */
export function countOf({ count = 1 }: GenerateFlags): number {
  if (Number.isInteger(count) && count > 0) return count;
  throw new DiffusionError("BAD_OPTION", `--count must be a whole number above 0, got ${count}`);
}
