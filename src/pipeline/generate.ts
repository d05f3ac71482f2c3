import type { GenerateOptions } from "../options/options.js";
import { checkOptions } from "../options/schema.js";
import { defaultModels } from "./model-source.js";
import { type GenerateResult, type LoadOptions, StableDiffusion } from "./stable-diffusion.js";

const loadKeys = [
  ...(["precision", "runtime", "config", "prediction", "vae", "taesd", "loraDir", "vaeTiling"] as const),
  ...(["keepLoaded"] as const),
  ...(["cacheDir", "threads", "revision", "token", "offline"] as const),
];

/** Loaded models, by what they were loaded with; kept for later calls. */
const models = new Map<string, Promise<StableDiffusion>>();

/**
 * Makes pictures in one call: loads the model on first use and keeps it. Without `model`, the default model is
 * used, and its inpainting variant when a mask or `expand` is given.
 */
export async function generate(
  options: GenerateOptions & LoadOptions & { model?: string },
): Promise<GenerateResult> {
  const { model = defaultModelFor(options), ...rest } = options;
  const load: LoadOptions = {};
  const call = { ...rest };
  for (const key of loadKeys) {
    if (call[key] !== undefined) Object.assign(load, { [key]: call[key] });
    delete call[key];
  }
  // A slip is cheaper to find before a model is loaded.
  checkOptions(call);
  const key = JSON.stringify([model, load]);
  const known = models.get(key);
  const loading = known ?? StableDiffusion.load(model, { ...load, ...shared(options) });
  models.set(key, loading);
  // A model that could not be loaded is tried anew by the next call.
  loading.catch(() => models.delete(key));
  return (await loading).generate(call);
}

const defaultModelFor = ({ mask, expand }: GenerateOptions): string =>
  defaultModels[mask !== undefined || expand !== undefined ? 1 : 0];

const shared = ({ signal, onProgress }: GenerateOptions): LoadOptions => ({
  ...(signal && { signal }),
  ...(onProgress && { onProgress }),
});
