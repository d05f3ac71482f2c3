import seedrandom from "seedrandom";
import { DiffusionError, demand } from "../errors.js";

/** Lists that prompts name: `__colour__` is a line of the list "colour", `__animals/cat__` of "animals/cat". */
export type WildcardLists = Readonly<Record<string, readonly string[]>>;

/** Lists may name lists; ones that name each other would never end. */
const DEEPEST = 20;

const named = /__([\p{L}\p{N}](?:[\p{L}\p{N} ./-]|_(?!_))*?)__/u;

/** Draws what a text leaves open. One generator draws for the texts of a picture, one after the other. */
export type Draw = (text: string) => string;

/**
 * @param seed of the picture: the same seed and lists give the same words
 * @param stream tells texts apart whose draws are to be independent, such as prompt and negative prompt
 */
export function wildcards(seed: number | bigint, lists: WildcardLists, stream: string): Draw {
  const random = seedrandom(`${seed} ${stream}`);
  return (text) => resolved(text, { lists, random, depth: 0 });
}

interface Drawing {
  readonly lists: WildcardLists;
  readonly random: () => number;
  readonly depth: number;
}

/** From left to right: names become lines of their lists, `{a|b}` one of its parts; both may hold more of them. */
function resolved(text: string, drawing: Drawing): string {
  if (drawing.depth > DEEPEST)
    throw new DiffusionError("BAD_OPTION", `wildcards lie more than ${DEEPEST} deep in each other`, {
      hint: "does a list name itself?",
    });
  let done = "";
  let rest = text;
  for (;;) {
    const name = named.exec(rest);
    const brace = choiceIn(rest);
    if (name && (!brace || name.index < brace.start)) {
      done += rest.slice(0, name.index) + lineOf(name[1]!, drawing);
      rest = rest.slice(name.index + name[0].length);
    } else if (brace) {
      done += rest.slice(0, brace.start) + chosen(brace.parts, drawing);
      rest = rest.slice(brace.end);
    } else return done + rest;
  }
}

const deeper = (drawing: Drawing): Drawing => ({ ...drawing, depth: drawing.depth + 1 });

function lineOf(name: string, drawing: Drawing): string {
  const lines = listNamed(name, drawing.lists);
  return resolved(lines[Math.floor(drawing.random() * lines.length)]!, deeper(drawing));
}

function listNamed(name: string, lists: WildcardLists): readonly string[] {
  const lines = Object.hasOwn(lists, name) ? lists[name]! : [];
  if (lines.length > 0) return lines;
  const known = Object.keys(lists);
  throw new DiffusionError("BAD_OPTION", `there is no wildcard ${name}`, {
    hint:
      known.length > 0
        ? `there are ${known.slice(0, 20).join(", ")}${known.length > 20 ? ", …" : ""}`
        : "give a folder with one text file for each list",
  });
}

/** `{2$$a|b|c}` draws two of them, none twice; `{3::a|b}` draws a three times as often as b. */
function chosen(parts: readonly string[], drawing: Drawing): string {
  const [, count, first] = /^\s*(\d+)\$\$(.*)$/su.exec(parts[0]!) ?? [];
  const left = [...(first === undefined ? parts : [first, ...parts.slice(1)])].map(weighed);
  const taken: string[] = [];
  while (left.length > 0 && taken.length < Number(count ?? 1)) {
    const sum = left.reduce((all, { weight }) => all + weight, 0);
    let at = drawing.random() * sum;
    let index = left.findIndex(({ weight }) => {
      at -= weight;
      return at < 0;
    });
    if (index < 0) index = left.length - 1;
    taken.push(...left.splice(index, 1).map(({ text }) => resolved(text, deeper(drawing))));
  }
  return taken.map((text) => (count === undefined ? text : text.trim())).join(", ");
}

function weighed(part: string): { readonly text: string; readonly weight: number } {
  const [, weight, text] = /^\s*(\d*\.?\d+)::(.*)$/su.exec(part) ?? [];
  return text === undefined ? { text: part, weight: 1 } : { text, weight: Number(weight) };
}

/** The first `{…|…}` whose braces close. Signs within other brackets are the prompt's own: `[a|b]` alternates. */
function choiceIn(text: string): { start: number; end: number; parts: string[] } | undefined {
  for (let start = text.indexOf("{"); start >= 0; start = text.indexOf("{", start + 1)) {
    if (text[start - 1] === "\\") continue;
    const found = partsFrom(text, start);
    if (found && (found.parts.length > 1 || /^\s*\d+\$\$/.test(found.parts[0]!))) return { start, ...found };
  }
  return undefined;
}

function partsFrom(text: string, start: number): { end: number; parts: string[] } | undefined {
  const parts: string[] = [];
  let from = start + 1;
  let braces = 0;
  let brackets = 0;
  for (let i = from; i < text.length; i++) {
    const sign = text[i]!;
    if (text[i - 1] === "\\") continue;
    if (sign === "{") braces++;
    else if (sign === "[") brackets++;
    else if (sign === "]") brackets = Math.max(0, brackets - 1);
    else if (sign === "|" && braces === 0 && brackets === 0) {
      parts.push(text.slice(from, i));
      from = i + 1;
    } else if (sign === "}" && braces > 0) braces--;
    else if (sign === "}") return { end: i + 1, parts: [...parts, text.slice(from, i)] };
  }
  return undefined;
}

/**
 * The lists that texts may come to, and those that these name in turn.
 *
 * @throws DiffusionError BAD_OPTION for one that there is not
 */
export function namedLists(texts: readonly string[], known: WildcardLists): WildcardLists {
  demand("texts", texts, "list");
  demand("lists", known, "object");
  const found: Record<string, readonly string[]> = {};
  const look = (text: string): void => {
    for (const [, name = ""] of text.matchAll(new RegExp(named, "gu"))) {
      if (Object.hasOwn(found, name)) continue;
      found[name] = listNamed(name, known);
      for (const line of found[name]) look(line);
    }
  };
  for (const text of texts) look(text);
  return found;
}

/** The lines of a list's file: spaces at their ends, empty lines and those that begin with # are left out. */
export const wildcardLines = (text: string): readonly string[] =>
  text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
