import { isJsonObject, type Json, type JsonObject, parseJson, quoted } from "../disk/json.js";
import { DiffusionError } from "../errors.js";
import type { AdapterFile } from "../weights/formats/tensors.js";
import type { AdaptedTensor } from "./lora-keys.js";
import type { Alpha } from "./lora-target.js";

export interface LoraOptions {
  /** adapter_config.json beside a PEFT file, parsed: it has the alpha that the tensors lack. */
  readonly config?: JsonObject;
}

/**
 * PEFT's alpha, from adapter_config.json or from the metadata that diffusers writes (`unet.lora_alpha`), with its
 * exceptions for single modules (`alpha_pattern`).
 */
export function configuredAlphas(file: AdapterFile, options: LoraOptions): (tensor: AdaptedTensor) => Alpha {
  const metadata = file.metadata?.get("lora_adapter_metadata");
  const stored = metadata === undefined ? undefined : jsonOrUndefined(metadata);
  return ({ network, name }) => {
    const module = name.replace(/\.weight$/, "");
    const find = (name: string): Json | undefined =>
      isJsonObject(stored) ? (stored[`${network}.${name}`] ?? stored[name]) : options.config?.[name];
    const pattern = find("alpha_pattern");
    const special = isJsonObject(pattern)
      ? Object.entries(pattern).find(([name]) => modulePattern(name, file.path).test(module))?.[1]
      : undefined;
    const alpha = special ?? find("lora_alpha");
    return typeof alpha === "number" ? { alpha, rootRank: find("use_rslora") === true } : undefined;
  };
}

/**
 * PEFT reads the names in its patterns as regular expressions, for the end of a module's path. A stranger's expression
 * could search for ever, so only the simple ones that people write are run.
 *
 * @throws DiffusionError UNSUPPORTED
 */
function modulePattern(name: string, path: string): RegExp {
  const pieces = /^(?:\^)?(?:[\w.-]|\\[.d]|\(\?:|[|()$]|\.[*+]|\\d\+)*$/;
  const wildcards = name.match(/[*+]/g)?.length ?? 0;
  try {
    if (pieces.test(name) && wildcards <= 3) return new RegExp(`^(?:.*\\.)?(?:${name})$`);
  } catch {
    // not balanced: said below
  }
  throw new DiffusionError("UNSUPPORTED", `${path}: the alpha_pattern ${quoted(name)} is not understood`, {
    hint: "Names of modules, |, .* and .+ can be used, three of the last two at most.",
  });
}

function jsonOrUndefined(text: string): Json | undefined {
  try {
    return parseJson(text, "python");
  } catch {
    return undefined; // metadata is a note of the author's, not a part of the format
  }
}
