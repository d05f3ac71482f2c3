import { demand } from "../errors.js";
import { divided } from "../options/divided.js";
import { checkLoadOptions, type LoadOptions, loadOptionNames } from "../options/load.js";
import type { GenerateOptions } from "../options/options.js";
import { requireObject } from "../options/refusal.js";
import { checkOptions } from "../options/schema.js";
import { defaultModels } from "./model-source.js";
import type { GenerateResult } from "./run.js";
import { withShared } from "./shared-models.js";

/**
 * Makes pictures in one call: loads the model on first use and keeps it for later ones, as many as `keepModels` says.
 * Without `model`, the default model is used, and its inpainting variant when a hard mask or `expand` is given.
 */
export async function generate(
  options: GenerateOptions & LoadOptions & { model?: string },
): Promise<GenerateResult> {
  requireObject("generate", options);
  const { model = defaultModelFor(options), ...given } = options;
  const { asked, load } = divided(given);
  // A slip is cheaper to find before a model is loaded.
  checkOptions(asked, loadOptionNames);
  checkLoadOptions(load);
  const { signal, onProgress } = asked;
  const heard = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
  return withShared(model, { ...load, ...heard }, (loaded) => loaded.generate(asked));
}

/** Its inpainting variant sees the mask itself, which must then be black and white. */
export function defaultModelFor(options: Pick<GenerateOptions, "mask" | "softMask" | "expand">): string {
  demand("options", options, "object");
  const { mask, softMask, expand } = options;
  return defaultModels[(mask !== undefined && !softMask) || expand !== undefined ? 1 : 0];
}
