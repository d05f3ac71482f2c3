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
 * exceptions for single modules (`alpha_pattern`). LoHa and LoKr call it `alpha`, and divide it by `r` whatever their
 * factors are.
 *
 * @throws DiffusionError UNSUPPORTED for configurations under which the factors are not the whole change
 */
export function configuredAlphas(file: AdapterFile, options: LoraOptions): (tensor: AdaptedTensor) => Alpha {
  const stored = storedConfig(file);
  for (const [key, value] of Object.entries({ ...stored, ...options.config }))
    refuseInitialisation(file.path, key, value);
  return ({ network, name }) => {
    const module = name.replace(/\.weight$/, "");
    const find = (name: string): Json | undefined =>
      stored ? (stored[`${network}.${name}`] ?? stored[name]) : options.config?.[name];
    const special = (pattern: Json | undefined): Json | undefined =>
      isJsonObject(pattern)
        ? Object.entries(pattern).find(([name]) => modulePattern(name, file.path).test(module))?.[1]
        : undefined;
    const own = special(find("alpha_pattern"));
    const loraAlpha = own ?? find("lora_alpha");
    const isLora = find("lora_alpha") !== undefined;
    if (typeof loraAlpha === "number" && isLora)
      return { alpha: loraAlpha, rootRank: find("use_rslora") === true };
    const [alpha, rank] = [own ?? find("alpha"), special(find("rank_pattern")) ?? find("r")];
    return typeof alpha === "number" && typeof rank === "number" && rank > 0
      ? { alpha, rank, rootRank: false }
      : undefined;
  };
}

const storedConfig = (file: AdapterFile): JsonObject | undefined => {
  const metadata = file.metadata?.get("lora_adapter_metadata");
  const stored = metadata === undefined ? undefined : jsonOrUndefined(metadata);
  return isJsonObject(stored) ? stored : undefined;
};

/** Beginnings that leave the model's weights as they are; others take the factors out of them (PiSSA, OLoRA, CorDA, LoftQ). */
const initialisations: readonly unknown[] = [null, true, false, "gaussian", "eva", "orthogonal"];

function refuseInitialisation(path: string, key: string, value: Json): void {
  if (!/^((unet|text_encoder(_2)?)\.)?init_lora_weights$/.test(key) || initialisations.includes(value))
    return;
  throw new DiffusionError(
    "UNSUPPORTED",
    `${path}: its factors began as parts of the model's own weights (init_lora_weights ${JSON.stringify(value)}), which are to be taken out of the model first`,
    {
      hint: "PEFT converts it to a plain LoRA: path_initial_model_for_weight_conversion of save_pretrained.",
    },
  );
}

/** What adapter_config.json may say that changes nothing once the factors are there. */
const harmless =
  /^(peft_type|peft_version|auto_mapping|base_model_name_or_path|revision|task_type|inference_mode|r|(rank|alpha)_pattern|(lora_)?alpha|use_rslora|use_dora|lora_bias|bias|modules_to_save|target_modules|exclude_modules|layers_to_transform|layers_pattern|init_(lora_)?weights|(lora|rank|module)_dropout|rank_dropout_scale|megatron_core|(eva|corda|loftq|lora_ga)_config|qalora_group_size|use_effective_conv2d|decompose_(both|factor)|ensure_weight_tying)$/;

/** Keys of adapter_config.json that say something, and nothing that is known here. */
export const unknownConfigKeys = (config: JsonObject = {}): string[] =>
  Object.entries(config)
    .filter(([key, value]) => !harmless.test(key) && !isUnset(value))
    .map(([key]) => key);

const isUnset = (value: Json): boolean =>
  value === null || value === false || (typeof value === "object" && Object.keys(value).length === 0);

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
