import { DiffusionError } from "../errors.js";
import { joinEqual, type Piece } from "./attention.js";

const [MORE, LESS] = [1.1, 0.9];
/** What may stand behind a word or a bracket: `++`, `--`, `0.8` (brackets only), `.attend(0.8)`, `.attend(+)`. */
const AFTER_BRACKET = /(?:(\++)|(-+)|(\d+\.?\d*|\.\d+)|\.attend\(\s*(?:(\++)|(-+)|(\d+\.?\d*|\.\d+))\s*\))/y;
const AFTER_WORD = /(?:(\++)|(-+)|()\.attend\(\s*(?:(\++)|(-+)|(\d+\.?\d*|\.\d+))\s*\))(?=[\s,.;:!?)"]|$)/y;

const WORD = /[^\s()"\\,.+-]+(?:[-+.](?!attend\()[^\s()"\\,.+-]+)*/y;

/**
 * Weights by the rules of compel: `word+` times 1.1, `word--` times 0.9 twice, `(some words)1.3`, `"some words"+`,
 * `x.attend(0.5)`; nested ones multiply; brackets without a weight are left out of the text, brackets that are not
 * closed stay in it; a backslash makes a bracket an ordinary character.
 */
export function parseCompel(prompt: string): Piece[] {
  const missing = /\)\s*\.(and|blend)\(|\.(swap)\(/.exec(prompt);
  if (missing)
    throw new DiffusionError(
      "UNSUPPORTED",
      `Prompt: compel's .${missing[1] ?? missing[2]}() is not supported`,
      {
        hint: "Weights such as word+, word-- and (words)1.3 are; with the syntax of the web UI so is AND.",
      },
    );
  return joinEqual(parse(prompt));
}

const CLOSING: Readonly<Record<string, string>> = { "(": ")", '"': '"' };

/** Groups that stand deeper are ordinary text. */
const MAX_DEPTH = 64;

type Weighted = Exclude<Piece, "break">;

interface Parsed {
  readonly pieces: Weighted[];
  readonly end: number;
}

function parse(prompt: string): Piece[] {
  const groups = new Map<number, Parsed | undefined>();
  const lastOf = { "(": prompt.lastIndexOf(")"), '"': prompt.lastIndexOf('"') };
  const unclosed = new Set<number>(); // groups that run to the end: so does, then, what they stand in

  /** What stands from `start` to the closing character or the end. */
  function sequence(start: number, closing: string | undefined, depth: number): Parsed {
    const pieces: Weighted[] = [];
    let at = start;
    while (at < prompt.length && prompt[at] !== closing) {
      const group = groupAt(at, depth);
      if (unclosed.has(at) && closing === CLOSING[prompt[at]!]) return { pieces, end: prompt.length };
      WORD.lastIndex = at;
      const word = WORD.exec(prompt)?.[0];
      if (group) {
        for (const piece of group.pieces) append(pieces, piece);
        at = group.end;
      } else if (word) {
        const after = weightAt(AFTER_WORD, prompt, at + word.length);
        append(pieces, { text: word, weight: after?.weight ?? 1 });
        at = after?.end ?? at + word.length;
      } else {
        const escaped = prompt[at] === "\\" && /^[()"\\]/.test(prompt[at + 1] ?? "");
        if (escaped) at++;
        append(pieces, { text: prompt[at]!, weight: 1 });
        at++;
      }
    }
    return { pieces, end: at };
  }

  function groupAt(at: number, depth: number): Parsed | undefined {
    if (depth >= MAX_DEPTH || (prompt[at] !== "(" && prompt[at] !== '"')) return undefined;
    if (lastOf[prompt[at] as "(" | '"'] <= at)
      unclosed.add(at); // not looked for again from every opening one
    else if (!groups.has(at)) groups.set(at, group(at, depth + 1));
    return groups.get(at);
  }

  /** Round brackets or quotes with the weight behind them; quotes without a weight are ordinary characters. */
  function group(at: number, depth: number): Parsed | undefined {
    const { pieces, end } = sequence(at + 1, CLOSING[prompt[at]!], depth);
    if (end >= prompt.length) {
      unclosed.add(at);
      return undefined;
    }
    const after = weightAt(AFTER_BRACKET, prompt, end + 1);
    if (prompt[at] === '"' && !after) return undefined;
    const factor = after?.weight ?? 1;
    return {
      pieces: pieces.map(({ text, weight }) => ({ text, weight: weight * factor })),
      end: after?.end ?? end + 1,
    };
  }

  return sequence(0, undefined, 0).pieces;
}

/** Joins equals at once: each bracket around a long text weighs all its pieces anew. */
function append(pieces: Weighted[], piece: Weighted): void {
  const last = pieces.at(-1);
  if (last?.weight === piece.weight)
    pieces[pieces.length - 1] = { text: last.text + piece.text, weight: last.weight };
  else pieces.push(piece);
}

function weightAt(pattern: RegExp, prompt: string, at: number): { weight: number; end: number } | undefined {
  pattern.lastIndex = at;
  const match = pattern.exec(prompt);
  if (!match) return undefined;
  const [all, plus, minus, number, attendPlus, attendMinus, attendNumber] = match;
  const more = (plus ?? attendPlus ?? "").length;
  const less = (minus ?? attendMinus ?? "").length;
  const weight = more > 0 ? MORE ** more : less > 0 ? LESS ** less : Number(number || attendNumber);
  return { weight, end: at + all.length };
}
