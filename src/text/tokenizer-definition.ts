import { z } from "zod";
import { DiffusionError } from "../errors.js";
import { firstProblem, inWords } from "../expectations.js";
import { isSafePattern } from "./safe-pattern.js";

/** Contents of the files of a tokenizer folder: `tokenizer.json`, or `vocab.json` and `merges.txt`. */
export interface TokenizerFiles {
  readonly "tokenizer.json"?: string;
  readonly "vocab.json"?: string;
  readonly "merges.txt"?: string;
  readonly "tokenizer_config.json"?: string;
  readonly "special_tokens_map.json"?: string;
}

export const malformed = (file: string, problem: string, cause?: unknown) =>
  new DiffusionError("FILE_FORMAT", `Tokenizer: ${file} cannot be used: ${problem}`, {
    hint: "Download the tokenizer folder of the checkpoint again.",
    cause,
  });

const tokenName = z.union([
  z.string(),
  z.object({ content: z.string() }).transform(({ content }) => content),
]);
const specialTokens = z.object({
  bos_token: tokenName.nullish(),
  eos_token: tokenName.nullish(),
  pad_token: tokenName.nullish(),
  model_max_length: z.number().nullish(), // 1e30 where the checkpoint does not say
  added_tokens_decoder: z.unknown().optional(),
});

/**
 * Names of the special tokens. Stable Diffusion 2 pads with "!" by `special_tokens_map.json` only: that file
 * wins, as in transformers, unless `tokenizer_config.json` is of the newer kind that lists its added tokens.
 */
export function readSpecialTokens(files: TokenizerFiles) {
  const config = parse(files, "tokenizer_config.json", specialTokens);
  const map = parse(files, "special_tokens_map.json", specialTokens);
  const [first, second] = config?.added_tokens_decoder ? [config, map] : [map, config];
  const pick = (key: "bos_token" | "eos_token" | "pad_token", otherwise: string) =>
    first?.[key] ?? second?.[key] ?? otherwise;
  const eos_token = pick("eos_token", "<|endoftext|>");
  const length = config?.model_max_length ?? 77;
  return {
    bos_token: pick("bos_token", "<|startoftext|>"),
    eos_token,
    pad_token: pick("pad_token", eos_token),
    model_max_length: Number.isInteger(length) && length >= 2 && length <= 1000 ? length : 77,
  };
}

function parse<T>(files: TokenizerFiles, name: keyof TokenizerFiles, schema: z.ZodType<T>): T | undefined {
  const text = files[name];
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw malformed(name, `it is not JSON (${(cause as Error).message})`, cause);
  }
  const result = schema.safeParse(value);
  if (!result.success) throw malformed(name, inWords(firstProblem(result.error, value), "the file"));
  return result.data;
}

/** Checked by hand: tens of thousands of entries, which a schema library takes its time for. */
const vocabulary = z.custom<Record<string, number>>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 24),
  "expected token names with whole numbers as ids",
);
const merges = z.custom<(string | [string, string])[]>(
  (value) =>
    Array.isArray(value) && value.every((merge) => typeof merge === "string" || Array.isArray(merge)),
  "expected a list of merges",
);
const tokenizerJson = z.looseObject({
  added_tokens: z
    .array(
      z.looseObject({
        id: z.int().min(0),
        content: z.string(),
        special: z.boolean().optional(),
        normalized: z.boolean().optional(),
      }),
    )
    .default([]),
  normalizer: z.unknown().default(null),
  pre_tokenizer: z.unknown().default(null),
  post_processor: z.unknown().default(null),
  decoder: z.unknown().default(null),
  model: z.looseObject({ type: z.literal("BPE").optional(), vocab: vocabulary, merges }),
});
type Definition = z.infer<typeof tokenizerJson>;

/** The definition that the tokenizers library takes, checked, from `tokenizer.json` or the older pair of files. */
export function readDefinition(files: TokenizerFiles): Definition {
  const own = files["tokenizer.json"] !== undefined;
  const definition = own ? fromTokenizerJson(files) : fromVocabulary(files);
  checkMerges(definition.model, own ? "tokenizer.json" : "merges.txt");
  return definition;
}

function fromTokenizerJson(files: TokenizerFiles): Definition {
  const { model, ...rest } = parse(files, "tokenizer.json", tokenizerJson)!;
  for (const part of [rest.normalizer, rest.pre_tokenizer, rest.post_processor, rest.decoder])
    checkPatterns(part);
  return { ...rest, model: { ...model, type: "BPE" } };
}

/** Regular expressions run where prompts are read: a file must not bring one that takes for ever. */
function checkPatterns(part: unknown): void {
  if (typeof part !== "object" || part === null) return;
  for (const [key, value] of Object.entries(part))
    if (key !== "Regex") checkPatterns(value);
    else if (typeof value !== "string" || !isSafePattern(value))
      throw new DiffusionError(
        "UNSUPPORTED",
        `Tokenizer: tokenizer.json splits text by ${JSON.stringify(value)?.slice(0, 200)}, which may take for ever`,
        {
          hint: "Alternatives of characters and classes are read, as CLIP has them. Where vocab.json and merges.txt stand beside it, they do without tokenizer.json.",
        },
      );
}

/** What transformers makes of a CLIP vocabulary: NFC, blanks to one space, lower case, split, byte-level BPE. */
function fromVocabulary(files: TokenizerFiles): Definition {
  const vocab = parse(files, "vocab.json", vocabulary);
  const lines = files["merges.txt"]?.split(/\r?\n/);
  if (!vocab || !lines) {
    const missing = vocab ? "merges.txt" : "vocab.json";
    throw new DiffusionError("FILE_MISSING", `Tokenizer: there is no tokenizer.json and no ${missing}`, {
      hint: "A tokenizer folder holds tokenizer.json, or vocab.json and merges.txt.",
    });
  }
  const pattern =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
  return {
    added_tokens: [],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "NFC" },
        { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
        { type: "Lowercase" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: "<|endoftext|>",
      end_of_word_suffix: "</w>",
      vocab,
      merges: lines.filter((line) => line !== "" && !line.startsWith("#version")),
    },
  };
}

function checkMerges({ vocab, merges }: Definition["model"], file: string): void {
  for (const [i, merge] of merges.entries()) {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    const shown = `merge ${i + 1}, ${JSON.stringify(merge)},`;
    if (pair.length !== 2 || pair.some((part) => typeof part !== "string" || part === ""))
      throw malformed(file, `${shown} is not a pair`);
    for (const token of [pair[0], pair[1], pair.join("")])
      if (!Object.hasOwn(vocab, token!))
        throw malformed(file, `${shown} needs "${token}", which the vocabulary lacks`);
  }
}
