import { type Command, Option } from "commander";
import { z } from "zod";
import type { Described } from "../../options/described.js";
import { readNumber } from "../arguments.js";

/** Adds flags to a command. */
export type AddFlags = (command: Command) => unknown;

/**
 * The flags of options, in the order of their descriptions: one under the option's own name where the description
 * asks for one, and those that are made by hand.
 *
 * @param byHand for options whose flags are called, read or explained otherwise
 * @param read for values that are neither numbers, words of a list nor text
 */
export function addOptionFlags(
  command: Command,
  descriptions: Readonly<Record<string, Described>>,
  byHand: Readonly<Record<string, AddFlags>>,
  read: Readonly<Record<string, (text: string) => unknown>> = {},
): void {
  for (const [name, described] of Object.entries(descriptions)) {
    byHand[name]?.(command);
    if (described.flag !== undefined) command.addOption(flagOf(name, described, read[name]));
  }
}

/** The flag of an option under its own name. */
export function flagOf(
  name: string,
  { schema, about = "", flag = "" }: Described,
  read?: (text: string) => unknown,
): Option {
  const dashed = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const option = new Option(`--${dashed}${flag && ` ${flag}`}`, about);
  if (read) return option.argParser(read);
  if (schema instanceof z.ZodNumber) return option.argParser(readNumber);
  return schema instanceof z.ZodEnum ? option.choices(schema.options.map(String)) : option;
}
