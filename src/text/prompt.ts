import { DiffusionError, demand, nearest } from "../errors.js";
import { type Piece, parseAttention } from "./attention.js";
import { type Chunk, type ChunkOptions, chunkPieces, padChunks } from "./chunks.js";
import { parseCompel } from "./compel.js";
import { evaluationsOf, parseEditing, stagesOf } from "./editing.js";
import type { Emphasis } from "./emphasis.js";
import type { Tokenizer } from "./tokenizer.js";

/**
 * What brackets and signs in a prompt mean: nothing (as in diffusers), the rules of the AUTOMATIC1111 web UI
 * (attention, editing, AND, BREAK), or compel's weights.
 */
export type PromptSyntax = "plain" | "a1111" | "compel";

/** `<lora:name:0.8>` or `<lora:name:0.8:0.5>`: kind, name, and what else stood there. */
export interface NetworkMention {
  /** "lora", "lyco", "hypernet", ... */
  readonly kind: string;
  readonly name: string;
  /** For the text encoder, and for the UNet unless it has a weight of its own. */
  readonly weight: number;
  readonly unetWeight: number;
}

/** What holds from evaluation `from` up to, not including, step `to` (from 0). */
export interface PromptRange {
  readonly from: number;
  readonly to: number;
  /** Ranges of the same text have the same chunks: one call of the text encoder serves them all. */
  readonly text: string;
  readonly chunks: readonly Chunk[];
  /** Text that was cut off, "" if none was. */
  readonly lost: string;
  /** Tokens of the text, for a counter; 75 fit into a chunk. */
  readonly tokens: number;
  /** Compel: the prompt without each of the words whose weight is below 1, for `blendWithout`. */
  readonly without: readonly { readonly weight: number; readonly chunks: readonly Chunk[] }[];
}

/** One of the prompts that AND combines: guidance adds weight * (its output - unconditional output). */
export interface PromptPart {
  readonly weight: number;
  readonly ranges: readonly PromptRange[];
}

export interface ParsedPrompt {
  readonly parts: readonly PromptPart[];
  readonly networks: readonly NetworkMention[];
}

/** The same before it is known over how many steps it is edited. */
export interface ReadPart {
  readonly weight: number;
  /**
   * What holds when, over so many steps. Text that comes back is not tokenized again.
   * @param before steps of the pass before (hires fix), on which editing counts on
   */
  over(steps: number, before?: number): readonly PromptRange[];
}

export interface ReadPrompt {
  readonly parts: readonly ReadPart[];
  readonly networks: readonly NetworkMention[];
}

export interface ReadOptions extends ChunkOptions {
  readonly syntax?: PromptSyntax;
  /** Of "a1111": with "none" its weights and BREAK are ordinary text. */
  readonly emphasis?: Emphasis;
  /** Takes AND for a word, as the web UI does in negative prompts. */
  readonly whole?: boolean;
}

export interface PromptOptions extends ReadOptions {
  /** UNet steps that the prompt is edited over. */
  readonly steps?: number;
}

/** A prompt as inputs of the text encoder, with the weights of their tokens and the steps that they hold for. */
export function parsePrompt(prompt: string, tokenizer: Tokenizer, options: PromptOptions = {}): ParsedPrompt {
  const { steps = 1, ...reading } = options;
  const { parts, networks } = readPrompt(prompt, tokenizer, reading);
  return { networks, parts: parts.map(({ weight, over }) => ({ weight, ranges: over(steps) })) };
}

/** A prompt that is parsed and tokenized once, however often what it says is laid over a number of steps. */
export function readPrompt(prompt: string, tokenizer: Tokenizer, options: ReadOptions = {}): ReadPrompt {
  const { syntax = "plain", whole = false } = options;
  checkSyntax(syntax);
  const { text, networks } = syntax === "plain" ? { text: prompt, networks: [] } : extractNetworks(prompt);
  const parts = syntax === "a1111" && !whole ? splitParts(text) : [{ text, weight: 1 }];
  const known = new Map<string, ReturnType<typeof encodeStage>>(); // prompts that take turns come back
  const encode = (stage: string) => {
    const encoded = known.get(stage) ?? encodeStage(stage, syntax, tokenizer, options);
    known.set(stage, encoded);
    return encoded;
  };
  return {
    networks,
    parts: parts.map(({ weight, text }) => {
      const edited = syntax === "a1111" ? parseEditing(text) : [text];
      const over = (steps: number, before?: number) => {
        const stages = stagesOf(edited, steps, before);
        const ranges = evaluationsOf(stages, steps);
        return stages.flatMap(({ text }, i) => {
          const { from, to } = ranges[i]!;
          return from < to ? [{ from, to, ...encode(text) }] : [];
        });
      };
      return { weight, over };
    }),
  };
}

/** Tokens of a prompt (its longest stage), and how many fit into the chunks that it takes: 80 of 150. */
export function countTokens(
  prompt: string,
  tokenizer: Tokenizer,
  options: PromptOptions = {},
): { tokens: number; room: number } {
  demand("prompt", prompt, "text");
  demand("tokenizer", tokenizer, "object");
  demand("tokenizer.tokens", tokenizer.tokens, "function");
  demand("options", options, "object");
  const { parts } = parsePrompt(prompt, tokenizer, options);
  const ranges = parts.flatMap((part) => part.ranges);
  return {
    tokens: Math.max(...ranges.map((range) => range.tokens)),
    room: (tokenizer.maxLength - 2) * Math.max(...ranges.map((range) => range.chunks.length)),
  };
}

function encodeStage(text: string, syntax: PromptSyntax, tokenizer: Tokenizer, options: ReadOptions) {
  const chunked = (pieces: readonly Piece[]) =>
    chunkPieces(pieces, tokenizer, { ...defaults[syntax], ...options });
  const isLiteral = syntax === "a1111" && options.emphasis === "none";
  const pieces = readers[isLiteral ? "plain" : syntax](text);
  const all = chunked(pieces);
  const without =
    syntax !== "compel"
      ? []
      : pieces.flatMap((piece, i) => {
          if (piece === "break" || piece.weight >= 1 || piece.text.trim() === "") return [];
          const { chunks } = chunked(pieces.toSpliced(i, 1));
          return [{ weight: piece.weight, chunks: padChunks(chunks, all.chunks.length, tokenizer) }];
        });
  return { text, ...all, without };
}

const readers: Record<PromptSyntax, (text: string) => Piece[]> = {
  plain: (text) => [{ text, weight: 1 }],
  a1111: parseAttention,
  compel: parseCompel,
};

/** diffusers cuts long prompts, the web UI makes chunks of them at commas, compel wherever they are full. */
const defaults: Record<PromptSyntax, ChunkOptions> = {
  plain: { long: "truncate" },
  a1111: { long: "chunks", commaBacktrack: 20 },
  compel: { long: "chunks", commaBacktrack: 0 },
};

function checkSyntax(syntax: string): void {
  const known = Object.keys(readers);
  if (known.includes(syntax)) return;
  const guess = nearest(syntax, known);
  throw new DiffusionError("BAD_OPTION", `Prompt syntax: ${known.join(", ")} are known, got "${syntax}"`, {
    ...(guess && { hint: `Did you mean "${guess}"?` }),
  });
}

const NETWORK = /<([\p{L}\p{N}_]+):([^<>]+)>/gu;

/**
 * Takes mentions of networks out of a prompt: `<lora:name>`, `<lora:name:0.8>`, `<lora:name:0.8:0.5>` (text encoder and
 * UNet), `<lora:name:te=0.8:unet=0.5>`.
 * @throws {DiffusionError} BAD_OPTION for a weight that is not a number, UNSUPPORTED for `dyn=`, `lbw=` and others
 */
export function extractNetworks(prompt: string): { text: string; networks: NetworkMention[] } {
  const networks: NetworkMention[] = [];
  const text = prompt.replace(NETWORK, (mention: string, kind: string, rest: string) => {
    const [name = "", ...values] = rest.split(":").map((part) => part.trim());
    const weights = weightsIn(mention, values);
    const weight = weights.te ?? 1;
    networks.push({ kind, name, weight, unetWeight: weights.unet ?? weight });
    return "";
  });
  return { text, networks };
}

/** A prompt without those of its mentions that are not wanted; all else stays as it was. */
export const keepNetworks = (
  prompt: string,
  isWanted: (mention: Pick<NetworkMention, "kind" | "name">) => boolean,
): string =>
  prompt.replace(NETWORK, (mention: string, kind: string, rest: string) =>
    isWanted({ kind, name: rest.split(":", 1)[0]!.trim() }) ? mention : "",
  );

/** Values behind the name: first those without a key, in this order, unless a key says otherwise. */
function weightsIn(mention: string, values: readonly string[]): { te?: number; unet?: number } {
  const weights: { te?: number; unet?: number } = {};
  const order = ["te", "unet", "dyn"];
  const parts = values.map((value) => /^(?:([^=]*)=)?(.*)$/s.exec(value)!);
  const inOrder = parts.filter(([, key]) => key === undefined);
  const named = parts.filter(([, key]) => key !== undefined);
  for (const [i, [, key, number = ""]] of [...inOrder, ...named].entries()) {
    const meant = (key ?? order[i] ?? "a fifth value").trim();
    if (meant !== "te" && meant !== "unet") throw unknownValue(mention, meant);
    if (number.trim() === "" || Number.isNaN(Number(number)))
      throw new DiffusionError("BAD_OPTION", `Prompt: the weight in ${mention} is not a number`, {
        hint: "Write <lora:name:0.8>, or <lora:name:0.8:0.5> for text encoder and UNet.",
      });
    weights[meant] = Number(number);
  }
  return weights;
}

/** What would change the picture and is not understood, by the name that people know it under. */
function unknownValue(mention: string, key: string): DiffusionError {
  const meaning: Record<string, string> = {
    dyn: "a rank that is cut off (dyn)",
    lbw: "weights of single blocks (lbw)",
    lbwe: "weights of single blocks (lbwe)",
    start: "a first step (start)",
    stop: "a last step (stop)",
    step: "weights that change from step to step (step)",
  };
  return new DiffusionError(
    "UNSUPPORTED",
    `Prompt: ${mention} asks for ${meaning[key] ?? key}, which is not supported`,
    {
      hint: "te= and unet= are: <lora:name:te=0.8:unet=0.5>; take the rest out of the prompt.",
    },
  );
}

/**
 * Splits at AND; a number behind a colon at the end of a part is its weight. Where there is no AND, the web UI takes
 * such a number for a weight as well, so that "wide, 16:9" is nine times as strong: here it is text.
 */
function splitParts(prompt: string): { text: string; weight: number }[] {
  const parts = prompt.split(/\bAND\b/);
  if (parts.length === 1) return [{ text: prompt, weight: 1 }];
  return parts.map((part) => {
    const colon = part.lastIndexOf(":");
    const number =
      colon < 0 ? undefined : /^\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$/.exec(part.slice(colon + 1))?.[1];
    return number === undefined
      ? { text: part.trimEnd(), weight: 1 }
      : { text: part.slice(0, colon).trimEnd(), weight: Number(number) };
  });
}
