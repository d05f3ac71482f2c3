import { type LoadOptions, loadOptionNames } from "./load.js";
import type { GenerateOptions } from "./options.js";
import { optionNames } from "./schema.js";

const ofLoading = loadOptionNames.filter((name) => !optionNames.includes(name));

/** What each picture is asked for, with what both take, and what a model is loaded with. */
export function divided(given: GenerateOptions & LoadOptions): { asked: GenerateOptions; load: LoadOptions } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  const isOfLoading = ([name]: [string, unknown]) => ofLoading.includes(name);
  return {
    asked: Object.fromEntries(entries.filter((entry) => !isOfLoading(entry))),
    // Their order must not tell two models apart.
    load: Object.fromEntries(entries.filter(isOfLoading).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}
