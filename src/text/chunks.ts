import type { Piece } from "./attention.js";
import type { Tokenizer } from "./tokenizer.js";

/** One input of the text encoder: `ids` begin to padding (77), and the weight of each. */
export interface Chunk {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

export interface Chunks {
  /** At least one. Their embeddings stand one after the other on the token axis. */
  readonly chunks: readonly Chunk[];
  /** Tokens of the text, without begin, end and padding of the last chunk. */
  readonly tokens: number;
  /** The text that did not fit, if `long` is "truncate"; "" if all did. */
  readonly lost: string;
}

export interface ChunkOptions {
  /** What happens to text beyond one chunk: more chunks (default), or the cut that diffusers makes. */
  readonly long?: "chunks" | "truncate";
  /** A phrase that a chunk boundary would break moves on whole if its comma is at most so many tokens back. */
  readonly commaBacktrack?: number;
}

interface Token {
  readonly id: number;
  readonly weight: number;
}

/**
 * Pieces of a prompt as chunks of at most 75 tokens by the rules of the web UI (`modules/sd_hijack_clip.py`): each
 * piece is tokenized by itself, BREAK fills the chunk up, words of textual inversion are not cut in two.
 */
export function chunkPieces(
  pieces: readonly Piece[],
  tokenizer: Tokenizer,
  options: ChunkOptions = {},
): Chunks {
  const { long = "chunks", commaBacktrack = 20 } = options;
  const room = tokenizer.maxLength - 2;
  if (long === "truncate") {
    const all = pieces.flatMap((piece) => (piece === "break" ? [] : tokensOf(piece, tokenizer)));
    const lost = tokenizer.decode(all.slice(room).map(({ id }) => id));
    return { chunks: [frame(all.slice(0, room), tokenizer)], tokens: all.length, lost };
  }
  const comma = tokenizer.tokens(",")[0];
  const wordLengths = new Map([...tokenizer.words.values()].map((ids) => [ids[0]!, ids.length]));
  const full: Token[][] = [];
  let chunk: Token[] = [];
  let afterComma = 0; // how many tokens of the chunk stand up to its last comma
  const next = (rest: Token[] = []) => {
    full.push(chunk);
    chunk = rest;
    afterComma = 0;
  };
  for (const piece of pieces) {
    if (piece === "break") {
      next();
      continue;
    }
    for (const token of tokensOf(piece, tokenizer)) {
      if (token.id === comma) afterComma = chunk.length + 1;
      else if (chunk.length === room && afterComma > 0 && room - afterComma < commaBacktrack)
        next(chunk.splice(afterComma));
      if (chunk.length + Math.min(room, wordLengths.get(token.id) ?? 1) > room) next();
      chunk.push(token);
    }
  }
  const tokens = full.length * room + chunk.length;
  if (chunk.length > 0 || full.length === 0) full.push(chunk);
  return { chunks: full.map((list) => frame(list, tokenizer)), tokens, lost: "" };
}

/** The chunk of an empty prompt. */
export const emptyChunk = (tokenizer: Tokenizer): Chunk => frame([], tokenizer);

/** The same chunks with empty ones behind, so that both sides of the guidance are equally long. */
export const padChunks = (chunks: readonly Chunk[], count: number, tokenizer: Tokenizer): Chunk[] => [
  ...chunks,
  ...Array.from({ length: Math.max(0, count - chunks.length) }, () => emptyChunk(tokenizer)),
];

const tokensOf = (piece: Exclude<Piece, "break">, tokenizer: Tokenizer): Token[] =>
  tokenizer.tokens(piece.text).map((id) => ({ id, weight: piece.weight }));

function frame(tokens: readonly Token[], { bos, eos, pad, maxLength }: Tokenizer): Chunk {
  const padding = maxLength - 2 - tokens.length;
  return {
    ids: [bos, ...tokens.map(({ id }) => id), eos, ...Array<number>(padding).fill(pad)],
    weights: [1, ...tokens.map(({ weight }) => weight), ...Array<number>(padding + 1).fill(1)],
  };
}
