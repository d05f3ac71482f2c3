import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { DiffusionError } from "../errors.js";
import { parseParameters, readImage, readImageTexts } from "../index.js";
import { type Session, say, sayJson } from "./session.js";

export function addPngInfo(program: Command, session: Session): void {
  program
    .command("png-info <file>")
    .summary("how a picture was made")
    .description(
      "Shows the texts in a PNG, JPEG or WebP: how this program or AUTOMATIC1111's web UI made it.",
    )
    .action(async (file: string) => {
      const bytes = readBytes(file);
      const { width, height } = await readImage(bytes);
      const text = await readImageTexts(bytes);
      const { parameters } = text;
      if (session.json) {
        const parsed = parameters === undefined ? undefined : parseParameters(parameters);
        return sayJson({ file, width, height, text, ...(parsed && { parameters: parsed }) });
      }
      say(`${file}: ${width}x${height}`);
      const others = Object.entries(text).filter(([name]) => name !== "parameters");
      if (parameters !== undefined) say(`\n${parameters}`);
      for (const [name, value] of others) say(`\n${name}: ${value}`);
      if (Object.keys(text).length === 0) say("It holds no text.");
    });
}

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "there is no such file" : message;
    throw new DiffusionError("FILE_MISSING", `${file}: ${reason}`, { cause });
  }
}
