import { z } from "zod";
import { firstProblem, inWords } from "../expectations.js";
import { descriptions, type GenerateOptions } from "./options.js";
import { refusal, unknownOption, withoutUndefined } from "./refusal.js";

const schema = z.strictObject(
  Object.fromEntries(descriptions.map(([name, described]) => [name, described.schema.optional()])),
);

/** Options that a call may hold, for those who pass on the options of others. */
export const optionNames: readonly string[] = descriptions.map(([name]) => name);

/**
 * Refuses unknown options and values of the wrong kind, each in one sentence.
 *
 * @param others names that may be meant by an unknown one, too
 * @throws DiffusionError BAD_OPTION with the nearest name
 */
export function checkOptions(options: GenerateOptions, others: readonly string[] = []): void {
  const given = withoutUndefined(options);
  const { error } = schema.safeParse(given);
  if (!error) return;
  const problem = firstProblem(error, given);
  const { path, unknownKey } = problem;
  if (unknownKey === undefined) throw refusal(inWords(problem, "options"));
  throw unknownOption(path, unknownKey, [...optionNames, ...others]);
}
