import { DiffusionError, nearest } from "../errors.js";

export const refusal = (message: string, hint?: string): DiffusionError =>
  new DiffusionError("BAD_OPTION", message, hint ? { hint } : {});

/**
 * The refusal of an option that nothing is known of, with the nearest of those that there are.
 *
 * @param path of what it stands in, "" for the options themselves
 */
export function unknownOption(path: string, key: string, names: readonly string[]): DiffusionError {
  const near = nearest(key, names);
  return refusal(
    `there is no option ${path ? `${path}.` : ""}${key}`,
    near ? `did you mean ${near}?` : `options are ${names.join(", ")}`,
  );
}

/** An option that is there and undefined counts as absent. */
export const withoutUndefined = (options: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
