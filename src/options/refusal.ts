import { z } from "zod";
import { DiffusionError, kindInWords, nearest } from "../errors.js";
import { otherNames, otherNamesInside, saidOtherwise } from "./other-names.js";

export const refusal = (message: string, hint?: string): DiffusionError =>
  new DiffusionError("BAD_OPTION", message, hint ? { hint } : {});

/**
 * The refusal of an option that nothing is known of, with the one that may be meant.
 *
 * @param schema of all options @param path of what it stands in, "" for the options themselves
 * @param others names that may be meant, too
 */
export function unknownOption(
  schema: z.ZodType,
  { path, key }: { path: string; key: string },
  others: readonly string[] = [],
): DiffusionError {
  const own = namesIn(path === "" ? schema : at(schema, path.split(".")));
  const names = path === "" ? [...own, ...others] : own;
  const message = `there is no option ${path ? `${path}.` : ""}${key}`;
  const otherwise = found(saidOtherwise, key);
  if (otherwise !== undefined) return refusal(message, otherwise);
  const meant = meantBy(key, names, path) ?? (path === "" ? nested(schema, key) : undefined);
  return refusal(message, meant ? `did you mean ${meant}?` : `options are ${names.join(", ")}`);
}

function meantBy(key: string, names: readonly string[], path: string): string | undefined {
  const spelled = key.replace(/[_-]+(\w)/g, (_, letter: string) => letter.toUpperCase());
  if (names.includes(spelled)) return spelled;
  const elsewhere = calledElsewhere(key, path);
  const isHere = elsewhere !== undefined && names.includes(elsewhere.split(/[. ]/)[0]!);
  return isHere ? elsewhere : nearest(key, names);
}

/** What another library's name is called here, as seen from a path: hr_scale is hires.scale, and scale in hires. */
function calledElsewhere(key: string, path: string): string | undefined {
  const name = (path === "" ? undefined : found(otherNamesInside, key)) ?? found(otherNames, key);
  return name?.startsWith(`${path}.`) ? name.slice(path.length + 1) : name;
}

/** What a table says of a name, in Python's spelling or in JavaScript's. */
function found(table: Readonly<Record<string, string>>, key: string): string | undefined {
  const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const name = [key, snake].find((one) => Object.hasOwn(table, one));
  return name === undefined ? undefined : table[name];
}

/** An option that stands inside another one: padding is onlyMasked.padding. */
function nested(schema: z.ZodType, key: string): string | undefined {
  const outer = namesIn(schema).find((name) => namesIn(at(schema, [name])).includes(key));
  return outer && `${outer}.${key}`;
}

/** The names that an object may have, where a schema takes objects. */
const namesIn = (schema: z.ZodType): string[] =>
  alternatives(schema).flatMap((one) => (one instanceof z.ZodObject ? Object.keys(one.shape) : []));

/** What stands at a path; indices of lists are steps of it. */
function at(schema: z.ZodType, path: readonly string[]): z.ZodType {
  const [name, ...rest] = path;
  if (name === undefined) return schema;
  for (const one of alternatives(schema)) {
    if (one instanceof z.ZodObject && name in one.shape) return at(one.shape[name] as z.ZodType, rest);
    if (one instanceof z.ZodArray && /^\d+$/.test(name)) return at(one.element as z.ZodType, rest);
  }
  return z.never();
}

function alternatives(schema: z.ZodType): z.ZodType[] {
  if (schema instanceof z.ZodOptional) return alternatives(schema.unwrap() as z.ZodType);
  return schema instanceof z.ZodUnion ? (schema.options as z.ZodType[]).flatMap(alternatives) : [schema];
}

/** @throws DiffusionError BAD_OPTION for what is no object, such as a promise that was not awaited */
export function requireObject(what: string, value: unknown): void {
  if (value instanceof Promise) throw refusal(`${what}: expected an object, got a promise`, "await it first");
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw refusal(`${what}: expected an object, got ${kindInWords(value)}`);
}

/** @param example what is meant @throws DiffusionError BAD_OPTION for what is no text */
export function requireText(what: string, value: unknown, example: string): void {
  if (typeof value === "string" && value !== "") return;
  const hint = value instanceof URL ? "give its path: fileURLToPath(url)" : undefined;
  throw refusal(`${what}: expected ${example}, got ${kindInWords(value)}`, hint);
}

/** An option that is there and undefined counts as absent. */
export const withoutUndefined = <T extends object>(options: T): T & Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T &
    Record<string, unknown>;
