import { readFileSync, statSync } from "node:fs";
import { DiffusionError } from "../errors.js";

/** A JSON value. A key called `__proto__` is an own property, and changes nothing. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Which numbers are read: "naturals" (digits only, at most 2^53 - 1: the safetensors header) or "python" (JSON's,
 * and the bare NaN, Infinity and -Infinity that Python writes).
 */
export type JsonNumbers = "naturals" | "python";

/** A string of a stranger's file for a message: quoted, and of a length that can be shown. */
export const quoted = (text: string): string =>
  JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);

/** Deep enough for every file that exists, shallow enough for the stack. */
const maxDepth = 64;
const python = /NaN|-?Infinity|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const naturals = /(?:0|[1-9]\d*)(?![\d.eE])/y;

/** Values in all: more than any vocabulary has, and little enough for memory. */
const MAX_VALUES = 4_000_000;

/**
 * JSON, stricter than `JSON.parse`: a key that occurs twice in an object is an error. Throws a SyntaxError.
 *
 * @param mostKeys of one object
 */
export function parseJson(text: string, numbers: JsonNumbers, mostKeys = MAX_VALUES): Json {
  let at = 0;
  let values = 0;
  const fail = (expected: string): never => {
    const found = at < text.length ? JSON.stringify(text.slice(at, at + 16)) : "the end";
    throw new SyntaxError(`expected ${expected} at character ${at}, got ${found}`);
  };
  const skipSpace = () => {
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  };
  const take = (character: string): boolean => {
    skipSpace();
    if (text[at] !== character) return false;
    at++;
    return true;
  };

  const string = (): string => {
    skipSpace();
    if (text[at] !== '"') fail("a string");
    const start = at;
    for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
    at++;
    const literal = text.slice(start, at);
    try {
      return JSON.parse(literal) as string; // escapes and control characters
    } catch {
      at = start;
      return fail("a string");
    }
  };
  const number = (): number => {
    const pattern = numbers === "python" ? python : naturals;
    pattern.lastIndex = at;
    const literal = pattern.exec(text)?.[0];
    const value = Number(literal);
    if (literal === undefined || (numbers === "naturals" && !Number.isSafeInteger(value)))
      return fail(numbers === "python" ? "a value" : "a whole number from 0 to 2^53 - 1");
    at += literal.length;
    return value;
  };
  const object = (depth: number): JsonObject => {
    const entries = new Map<string, Json>();
    if (take("}")) return {};
    do {
      const key = string();
      if (entries.has(key)) throw new SyntaxError(`the key ${quoted(key)} occurs twice`);
      if (entries.size >= mostKeys) throw new SyntaxError(`more than ${mostKeys} keys in an object`);
      if (!take(":")) fail('":"');
      entries.set(key, value(depth + 1));
    } while (take(","));
    if (!take("}")) fail('"," or "}"');
    return Object.fromEntries(entries); // defines, never assigns: __proto__ is a key like any other
  };
  const array = (depth: number): Json[] => {
    const result: Json[] = [];
    if (take("]")) return result;
    do result.push(value(depth + 1));
    while (take(","));
    if (!take("]")) fail('"," or "]"');
    return result;
  };
  const value = (depth: number): Json => {
    if (depth > maxDepth) fail(`at most ${maxDepth} levels`);
    if (++values > MAX_VALUES) throw new SyntaxError(`more than ${MAX_VALUES} values`);
    if (take("{")) return object(depth);
    if (take("[")) return array(depth);
    if (text[at] === '"') return string();
    for (const [word, meaning] of [["true", true], ["false", false], ["null", null]] as const) // biome-ignore format: a table
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    return number();
  };

  const result = value(0);
  skipSpace();
  if (at < text.length) fail("nothing more");
  return result;
}

/** No configuration or shard index is near this; a file that is would be something else. */
const maxConfigBytes = 64 * 2 ** 20;

/**
 * A configuration file that must hold a JSON object, NaN and infinities allowed.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT
 */
export function readJsonObject(path: string): JsonObject {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isFile()) throw new DiffusionError("FILE_MISSING", `${path}: there is no such file`);
  if (stat.size > maxConfigBytes)
    throw new DiffusionError("FILE_FORMAT", `${path}: ${stat.size} bytes are too many for a configuration`);
  let value: Json;
  try {
    value = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path)), "python");
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? cause.message : "it is not UTF-8 text";
    throw new DiffusionError("FILE_FORMAT", `${path} is not JSON: ${reason}`, { cause });
  }
  if (!isJsonObject(value)) throw new DiffusionError("FILE_FORMAT", `${path}: expected a JSON object`);
  return value;
}

/** The text of a JSON file as Python writes it: scheduler configs hold -Infinity, which stands bare. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(
    value,
    (_key, item) => (typeof item === "number" && !Number.isFinite(item) ? `${item}` : item),
    2,
  );
  return `${text.replace(/(?<=: |^\s*)"(-?Infinity|NaN)"(?=,?$)/gm, "$1")}\n`;
}
