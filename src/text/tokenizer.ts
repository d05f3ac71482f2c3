import { Tokenizer as Library } from "@huggingface/tokenizers";
import { DiffusionError } from "../errors.js";
import { malformed, readDefinition, readSpecialTokens, type TokenizerFiles } from "./tokenizer-definition.js";

/** Text to token ids and back, as the text encoder of a checkpoint was trained with. */
export interface Tokenizer {
  /** Ids with begin and end tokens, cut to `maxLength` (the end token stays) and padded to it. */
  encode(text: string, options?: { maxLength?: number }): number[];
  /** Ids of the text only: no begin, end or padding, not cut. */
  tokens(text: string): number[];
  /** The text of some ids without begin and end tokens, as the model sees it: lower case, words and marks apart. */
  decode(ids: readonly number[]): string;
  /** The same tokenizer with new words, each of which stands for `vectors` new ids (textual inversion). */
  withWords(words: readonly { word: string; vectors: number }[]): Tokenizer;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  /** 77 for every CLIP: begin token, 75 tokens of text, end token. */
  readonly maxLength: number;
  /** New words take ids from here on. */
  readonly size: number;
  /** Ids of the words that `withWords` added. */
  readonly words: ReadonlyMap<string, readonly number[]>;
}

/**
 * A CLIP tokenizer from its files; where both are there, `tokenizer.json` wins over vocabulary and merges.
 *
 * @param padToken in place of the files' own
 */
export function createTokenizer(files: TokenizerFiles, padToken?: string): Tokenizer {
  const special = { ...readSpecialTokens(files), ...(padToken !== undefined && { pad_token: padToken }) };
  const definition = readDefinition(files);
  const { vocab } = definition.model;

  const added_tokens = [...definition.added_tokens];
  const idOf = (role: "bos_token" | "eos_token" | "pad_token"): number => {
    const content = special[role];
    const added = added_tokens.find((token) => token.content === content);
    const id = added?.id ?? (Object.hasOwn(vocab, content) ? vocab[content] : undefined);
    if (id === undefined) throw malformed("vocabulary", `it lacks the ${role} "${content}"`);
    if (!added) added_tokens.push({ id, content, special: true, normalized: role === "bos_token" });
    return id;
  };
  const ids = { bos: idOf("bos_token"), eos: idOf("eos_token"), pad: idOf("pad_token") };

  const library = build({ ...definition, added_tokens });
  // JavaScript lowers a capital sigma at the end of a word to another letter than the reference does
  const lowers = JSON.stringify(definition.normalizer).includes('"Lowercase"');
  const tokens = (text: string) =>
    library.encode(lowers ? text.replaceAll("Σ", "σ") : text, { add_special_tokens: false }).ids;
  const size = largest([...Object.values(vocab), ...added_tokens.map((token) => token.id)]) + 1;
  const decode = (list: readonly number[]) => {
    const text = list.filter((token) => token !== ids.bos && token !== ids.eos);
    return text.length === 0 ? "" : library.decode(text, { clean_up_tokenization_spaces: false }).trim();
  };
  return assemble({ ...ids, maxLength: special.model_max_length, size, tokens, decode }, new Map());
}

const largest = (ids: readonly number[]): number => ids.reduce((max, id) => Math.max(max, id), -1);

type Base = Omit<Tokenizer, "encode" | "withWords" | "words">;
type Words = ReadonlyMap<string, readonly number[]>;

/** Adds to a plain tokenizer what is ours: framing, and words of textual inversion. */
function assemble(base: Base, words: Words): Tokenizer {
  const tokens = words.size > 0 ? tokensWithWords(base, words) : base.tokens;
  return {
    ...base,
    words,
    tokens,
    decode: words.size > 0 ? decodeWithWords(base, words) : base.decode,
    encode(text, { maxLength = base.maxLength } = {}) {
      if (!Number.isInteger(maxLength) || maxLength < 2)
        throw badOption(`maxLength: expected a whole number of at least 2, got ${maxLength}`);
      const ids = [base.bos, ...tokens(text).slice(0, maxLength - 2), base.eos];
      return ids.concat(Array<number>(maxLength - ids.length).fill(base.pad));
    },
    withWords(added) {
      const all = new Map(words);
      let size = base.size;
      for (const { word, vectors } of added) {
        if (word.trim() === "" || !Number.isInteger(vectors) || vectors < 1)
          throw badOption(`A new word needs a name and at least one vector, got "${word}" with ${vectors}`);
        if ([...all.keys()].some((known) => known.toLowerCase() === word.toLowerCase()))
          throw badOption(
            `The word "${word}" is in the tokenizer already`,
            "Give the embedding another name.",
          );
        const ids: number[] = [];
        while (ids.length < vectors) ids.push(size++);
        all.set(word, ids);
      }
      return assemble({ ...base, size }, all);
    },
  };
}

const badOption = (message: string, hint?: string) =>
  new DiffusionError("BAD_OPTION", message, hint === undefined ? {} : { hint });

/** Tokens of the text between added words, and the ids of those. */
function tokensWithWords(base: Base, words: Words): (text: string) => number[] {
  const pattern = wordPattern([...words.keys()]);
  const idsOf = new Map([...words].map(([word, ids]) => [word.toLowerCase(), ids]));
  return (text) =>
    text
      .split(pattern) // added words stand at the odd places
      .flatMap((part, i) => (i % 2 ? idsOf.get(part.toLowerCase()) : undefined) ?? base.tokens(part));
}

/** Added words by their names, once for all of their vectors, and the text between them. */
function decodeWithWords(base: Base, words: Words): (ids: readonly number[]) => string {
  const nameOf = new Map([...words].flatMap(([word, ids]) => ids.map((id) => [id, word] as const)));
  return (ids) => {
    const parts: string[] = [];
    let plain: number[] = [];
    const flush = () => {
      parts.push(base.decode(plain));
      plain = [];
    };
    for (const id of ids) {
      const name = nameOf.get(id);
      if (name === undefined) plain.push(id);
      else {
        flush();
        if (words.get(name)![0] === id) parts.push(name);
      }
    }
    flush();
    return parts.filter((part) => part !== "").join(" ");
  };
}

/** Those of some words that a text says, in the spelling of the list. */
export function wordsIn(text: string, words: readonly string[]): readonly string[] {
  if (words.length === 0) return [];
  const nameOf = new Map(words.map((word) => [word.toLowerCase(), word]));
  const found = text.split(wordPattern(words)).flatMap((part, i) => (i % 2 ? [part.toLowerCase()] : []));
  return [...new Set(found)].flatMap((part) => nameOf.get(part) ?? []);
}

/** Finds added words in a text, the longest first; a word of letters does not match inside another word. */
function wordPattern(words: readonly string[]): RegExp {
  const alternatives = [...words]
    .sort((a, b) => b.length - a.length)
    .map((word) => {
      const literal = word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
      const before = /^[\p{L}\p{N}]/u.test(word) ? "(?<![\\p{L}\\p{N}])" : "";
      const after = /[\p{L}\p{N}]$/u.test(word) ? "(?![\\p{L}\\p{N}])" : "";
      return before + literal + after;
    });
  return new RegExp(`(${alternatives.join("|")})`, "iu");
}

function build(definition: object): Library {
  try {
    return new Library(definition, {});
  } catch (cause) {
    throw malformed("tokenizer.json", (cause as Error).message, cause);
  }
}
