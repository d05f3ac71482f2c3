/** A stretch of text with the weight of its tokens, or the end of a chunk (the word BREAK). */
export type Piece = { readonly text: string; readonly weight: number } | "break";

const BRACKET = 1.1;
const TOKEN = /\\[()[\]\\]?|[([]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()[\]:]+|:/g;
/** Without the blanks around it, which are cut off afterwards: a pattern with both would look at blanks again and again. */
const BREAK = /\bBREAK\b/;

/** A pair of brackets, or an open one that holds to the end. */
interface Bracket {
  readonly outer: Bracket | undefined;
  /** Known when it is closed. */
  factor: number;
  /** Brackets are multiplied in the order in which they close. */
  order: number;
  /** The factors of this one and of all around it. */
  product: number;
}

/** Innermost brackets of each kind that are multiplied one by one; what is around them is multiplied beforehand. */
const NEAREST = 64;

/**
 * Attention by the rules of the AUTOMATIC1111 web UI: `(x)` times 1.1, `[x]` by 1.1, `(x:1.3)` times 1.3, nested
 * ones multiply; a backslash makes a bracket an ordinary character; what is not closed holds to the end; BREAK
 * ends a chunk. Unlike there, BREAK ends it inside brackets too. Takes time in proportion to the prompt's length.
 */
export function parseAttention(prompt: string): Piece[] {
  const found: ({ text: string; round: Bracket | undefined; square: Bracket | undefined } | "break")[] = [];
  const brackets: Bracket[] = []; // as they open, so that outer ones stand before inner ones
  let round: Bracket | undefined; // the innermost one that is open
  let square: Bracket | undefined;
  let closed = 0;
  const open = (outer: Bracket | undefined): Bracket => {
    const bracket = { outer, factor: 1, order: 0, product: 1 };
    brackets.push(bracket);
    return bracket;
  };
  const close = (bracket: Bracket, factor: number): Bracket | undefined => {
    bracket.factor = factor;
    bracket.order = ++closed;
    return bracket.outer;
  };
  for (const [token, number] of prompt.matchAll(TOKEN)) {
    const weight = number === undefined ? Number.NaN : Number(number);
    if (token.startsWith("\\")) found.push({ text: token.slice(1), round, square });
    else if (token === "(") round = open(round);
    else if (token === "[") square = open(square);
    else if (!Number.isNaN(weight) && round) round = close(round, weight);
    else if (token === ")" && round) round = close(round, BRACKET);
    else if (token === "]" && square) square = close(square, 1 / BRACKET);
    else
      for (const [i, text] of splitAtBreaks(token).entries()) {
        if (i > 0) found.push("break");
        found.push({ text, round, square });
      }
  }
  while (round) round = close(round, BRACKET);
  while (square) square = close(square, 1 / BRACKET);
  for (const bracket of brackets) bracket.product = bracket.factor * (bracket.outer?.product ?? 1);
  return joinEqual(
    found.map((piece) =>
      piece === "break" ? piece : { text: piece.text, weight: weightWithin(piece.round, piece.square) },
    ),
  );
}

/** The text before, between and after the words BREAK, without the blanks around them. */
function splitAtBreaks(text: string): string[] {
  const parts = text.split(BREAK);
  return parts.map((part, i) => {
    const begun = i > 0 ? part.trimStart() : part;
    return i < parts.length - 1 ? begun.trimEnd() : begun;
  });
}

function weightWithin(round: Bracket | undefined, square: Bracket | undefined): number {
  const near: Bracket[] = [];
  let far = 1;
  for (const innermost of [round, square]) {
    let bracket = innermost;
    for (let i = 0; bracket && i < NEAREST; i++, bracket = bracket.outer) near.push(bracket);
    far *= bracket?.product ?? 1;
  }
  near.sort((a, b) => a.order - b.order);
  return near.reduce((weight, { factor }) => weight * factor, 1) * far;
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
