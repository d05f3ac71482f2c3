import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { DiffusionError } from "../errors.js";

/**
 * The prompts of a call: its words, or the lines of a file or of standard input ("-"), one picture each. None where
 * nothing was given.
 *
 * @throws DiffusionError BAD_OPTION, FILE_MISSING
 */
export async function readPrompts(words: readonly string[], file: string | undefined): Promise<string[]> {
  if (words.length > 0 && file !== undefined)
    throw new DiffusionError("BAD_OPTION", "a prompt and --prompt-file contradict each other", {
      hint: "put the prompt into the file, on a line of its own",
    });
  const source = file ?? (words.length === 1 && words[0] === "-" ? "-" : undefined);
  if (source === undefined) return words.length > 0 ? [words.join(" ")] : [];
  const lines = (await readText(source)).split(/\r?\n/).map((line) => line.trim());
  const prompts = lines.filter((line) => line !== "");
  if (prompts.length > 0) return prompts;
  const name = source === "-" ? "standard input" : source;
  throw new DiffusionError("BAD_OPTION", `${name} holds no prompt`, { hint: "write one on each line" });
}

async function readText(path: string): Promise<string> {
  if (path === "-") return text(process.stdin);
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "there is no such file" : message;
    throw new DiffusionError("FILE_MISSING", `${path}: ${reason}`, { cause });
  }
}
