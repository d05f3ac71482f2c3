import { DiffusionError } from "../errors.js";
import { generationDefaultsFile, isShardIndex, isShardName, weightNames } from "../weights/weight-names.js";

/** The parts of a pipeline that this library loads; safety checkers, watermarks and image encoders stay behind. */
const pipelineParts = [
  "unet",
  "vae",
  "vqvae",
  "text_encoder",
  "text_encoder_2",
  "tokenizer",
  "tokenizer_2",
  "scheduler",
  "low_res_scheduler",
] as const;

const tokenizerFiles = [
  "vocab.json",
  "merges.txt",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
];

export interface FileWish {
  /** Take `….fp16.safetensors` where there is one; otherwise the plain weights come first. */
  readonly variant?: "fp16";
  /** Only these parts of a pipeline, e.g. `["vae"]`. */
  readonly components?: readonly string[];
}

export interface FileChoice {
  readonly files: readonly string[];
  /** Those of `files` that name shards: read them, then fetch `shardsOf` too. */
  readonly indexes: readonly string[];
  /** The one file of weights that the repository consists of. */
  readonly lone?: string;
}

/**
 * The files that a repository has to give so that it can be loaded: a pipeline's parts if it has a
 * model_index.json (whose parsed text is `modelIndex`), else one network (config.json and weights), else its only
 * .safetensors file or the one that is called as adapters are. Pickles are taken where there is nothing else: they are
 * read without being run.
 * Single-file checkpoints beside a pipeline are left where they are.
 *
 * @throws DiffusionError FILE_MISSING, naming what is there
 */
export function chooseFiles(
  repo: string,
  available: readonly string[],
  modelIndex: unknown,
  wish: FileWish = {},
): FileChoice {
  const has = new Set(available);
  if (modelIndex !== undefined) return choosePipeline(repo, has, modelIndex, wish);
  if (has.has("config.json")) return choose(["config.json"], [weightsIn(repo, has, "", wish)]);
  const atTop = (ending: RegExp) => available.filter((file) => !file.includes("/") && ending.test(file));
  const safe = atTop(/\.safetensors$/);
  const single = safe.length > 0 ? safe : atTop(/\.(ckpt|bin|pt)$/);
  const [lone] = single.length === 1 ? single : single.filter((file) => adapterName.test(file));
  if (lone !== undefined) return { files: [lone, ...configsBeside(lone, available)], indexes: [], lone };
  throw new DiffusionError(
    "FILE_MISSING",
    `${repo} has no model_index.json, so it is no diffusers model; it holds ${shown(single.length ? single : available)}`,
    { hint: `Name the file that you want: ${repo}:${single[0] ?? "folder/file.safetensors"}` },
  );
}

/** What diffusers and PEFT call LoRAs and textual inversions. */
const adapterName = /^(pytorch_lora_weights|adapter_model|learned_embeds)\./;

/** What says of a file of weights how to use it: PEFT's alphas, a network's configuration. */
export function configsBeside(file: string, available: readonly string[]): string[] {
  const folder = file.slice(0, file.lastIndexOf("/") + 1);
  if (!/\.(safetensors|bin)$/.test(file)) return [];
  return ["adapter_config.json", "config.json"]
    .map((name) => folder + name)
    .filter((name) => available.includes(name));
}

const choose = (files: readonly string[], weights: readonly string[]): FileChoice => ({
  files: [...files, ...weights],
  indexes: weights.filter(isShardIndex),
});

function choosePipeline(
  repo: string,
  has: ReadonlySet<string>,
  modelIndex: unknown,
  wish: FileWish,
): FileChoice {
  const present = new Set(
    Object.entries(modelIndex as Record<string, unknown>).flatMap(([part, entry]) =>
      Array.isArray(entry) && typeof entry[1] === "string" ? [part] : [],
    ),
  );
  const parts = (wish.components ?? pipelineParts).filter((part) => present.has(part));
  if (parts.length === 0)
    throw new DiffusionError(
      "FILE_MISSING",
      `${repo}: its model_index.json names none of ${(wish.components ?? pipelineParts).join(", ")}`,
      { hint: `It names ${shown([...present])}.` },
    );
  const files = ["model_index.json"];
  if (!wish.components && has.has(generationDefaultsFile)) files.push(generationDefaultsFile);
  const weights: string[] = [];
  const need = (file: string): void => {
    if (!has.has(file)) throw new DiffusionError("FILE_MISSING", `${repo} has no ${file}`);
    files.push(file);
  };
  for (const part of parts) {
    if (part.startsWith("tokenizer")) {
      const found = tokenizerFiles.map((file) => `${part}/${file}`).filter((file) => has.has(file));
      if (!found.includes(`${part}/tokenizer.json`)) need(`${part}/vocab.json`);
      files.push(...found.filter((file) => !files.includes(file)));
    } else if (part.endsWith("scheduler")) {
      need(`${part}/scheduler_config.json`);
    } else {
      need(`${part}/config.json`);
      weights.push(weightsIn(repo, has, `${part}/`, wish));
    }
  }
  return choose(files, weights);
}

/** The weights of one network, or the index of their shards. */
function weightsIn(repo: string, has: ReadonlySet<string>, folder: string, wish: FileWish): string {
  const names = weightNames(["diffusers", "transformers"], wish.variant);
  const found = names.find((file) => has.has(`${folder}${file}`));
  if (found !== undefined) return `${folder}${found}`;
  const inside = [...has].filter(
    (file) => file.startsWith(folder) && !file.slice(folder.length).includes("/"),
  );
  const where = folder === "" ? repo : `${repo}: ${folder.slice(0, -1)}`;
  throw new DiffusionError("FILE_MISSING", `${where} has no weights as .safetensors or .bin`, {
    hint: `It holds ${shown(inside)}.`,
  });
}

/** The files that a shard index names, in its folder. `index` is the parsed text of `file`. */
export function shardsOf(file: string, index: unknown): string[] {
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  const names = typeof map === "object" && map !== null ? Object.values(map) : [];
  const folder = file.slice(0, file.lastIndexOf("/") + 1);
  const shards = new Set<string>();
  for (const name of names) {
    if (!isShardName(name))
      throw new DiffusionError("FILE_FORMAT", `${file} names the shard ${JSON.stringify(name)}`);
    shards.add(folder + name);
  }
  if (shards.size === 0) throw new DiffusionError("FILE_FORMAT", `${file} names no shards (weight_map)`);
  return [...shards];
}

const shown = (files: readonly string[]): string =>
  files.length === 0 ? "nothing" : files.slice(0, 8).join(", ") + (files.length > 8 ? ", …" : "");
