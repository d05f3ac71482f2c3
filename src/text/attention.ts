/** A stretch of text with the weight of its tokens, or the end of a chunk (the word BREAK). */
export type Piece = { readonly text: string; readonly weight: number } | "break";

const BRACKET = 1.1;
const TOKEN = /\\[()[\]\\]?|[([]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()[\]:]+|:/g;
const BREAK = /\s*\bBREAK\b\s*/;

/**
 * Attention by the rules of the AUTOMATIC1111 web UI: `(x)` times 1.1, `[x]` by 1.1, `(x:1.3)` times 1.3, nested
 * ones multiply; a backslash makes a bracket an ordinary character; what is not closed holds to the end; BREAK
 * ends a chunk. Unlike there, BREAK ends it inside brackets too.
 */
export function parseAttention(prompt: string): Piece[] {
  const pieces: ({ text: string; weight: number } | "break")[] = [];
  const round: number[] = []; // indices of the pieces after each bracket that is open
  const square: number[] = [];
  const multiply = (from: number, factor: number) => {
    for (let i = from; i < pieces.length; i++) {
      const piece = pieces[i]!;
      if (piece !== "break") piece.weight *= factor;
    }
  };
  for (const [token, number] of prompt.matchAll(TOKEN)) {
    const weight = number === undefined ? Number.NaN : Number(number);
    if (token.startsWith("\\")) pieces.push({ text: token.slice(1), weight: 1 });
    else if (token === "(") round.push(pieces.length);
    else if (token === "[") square.push(pieces.length);
    else if (!Number.isNaN(weight) && round.length > 0) multiply(round.pop()!, weight);
    else if (token === ")" && round.length > 0) multiply(round.pop()!, BRACKET);
    else if (token === "]" && square.length > 0) multiply(square.pop()!, 1 / BRACKET);
    else
      for (const [i, text] of token.split(BREAK).entries()) {
        if (i > 0) pieces.push("break");
        pieces.push({ text, weight: 1 });
      }
  }
  for (const from of round) multiply(from, BRACKET);
  for (const from of square) multiply(from, 1 / BRACKET);
  return joinEqual(pieces);
}

/** Neighbours of the same weight in one: they must be tokenized together. At least one piece. */
export function joinEqual(pieces: readonly Piece[]): Piece[] {
  const joined: Piece[] = [];
  for (const piece of pieces) {
    const last = joined.at(-1);
    if (piece !== "break" && last !== undefined && last !== "break" && last.weight === piece.weight)
      joined[joined.length - 1] = { text: last.text + piece.text, weight: piece.weight };
    else joined.push(piece);
  }
  return joined.length > 0 ? joined : [{ text: "", weight: 1 }];
}
