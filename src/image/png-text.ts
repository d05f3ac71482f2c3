import { inflateSync } from "node:zlib";
import { DiffusionError } from "../errors.js";
import { type Chunk, latin1 } from "./png-chunks.js";

/** Compressed text is read up to this many bytes a chunk and, over all chunks, up to the sum below. */
const MAX_INFLATED = 1 << 20;
const MAX_INFLATED_SUM = 1 << 24;

/**
 * A text as a chunk: tEXt where Latin-1 is enough, else iTXt (UTF-8), as PIL and with it the web UI write it.
 */
export function textChunk(keyword: string, text: string): Chunk {
  if (!/^(?! )[\x20-\x7e\xa1-\xff]{1,79}(?<! )$/.test(keyword))
    throw new DiffusionError(
      "BAD_OPTION",
      `PNG text: the keyword ${JSON.stringify(keyword)} is not 1 to 79 Latin-1 characters without spaces around`,
    );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of Latin-1 but the terminator
  if (/^[\x01-\xff]*$/.test(text)) return { type: "tEXt", data: latin1(`${keyword}\0${text}`) };
  // keyword, then: not compressed, method 0, no language, no translated keyword
  return { type: "iTXt", data: Buffer.concat([latin1(`${keyword}\0\0\0\0\0`), Buffer.from(text, "utf8")]) };
}

/** The texts of tEXt, zTXt and iTXt chunks by keyword; the last of a name counts. What is malformed is left out. */
export function readTexts(chunks: readonly Chunk[]): Record<string, string> {
  const texts = new Map<string, string>();
  let left = MAX_INFLATED_SUM;
  const inflate = (data: Uint8Array): Buffer | undefined => {
    try {
      const inflated = inflateSync(data, { maxOutputLength: Math.max(1, Math.min(left, MAX_INFLATED)) });
      left -= inflated.length;
      return inflated;
    } catch {
      left -= MAX_INFLATED; // so much may have been inflated in vain
      return undefined;
    }
  };
  for (const { type, data } of chunks) {
    const [keyword, rest] = cut(data);
    if (!rest) continue;
    const text =
      type === "tEXt"
        ? Buffer.from(rest).toString("latin1")
        : type === "zTXt"
          ? rest[0] === 0
            ? inflate(rest.subarray(1))?.toString("latin1")
            : undefined
          : international(rest, inflate);
    if (text !== undefined) texts.set(Buffer.from(keyword).toString("latin1"), text);
  }
  return Object.fromEntries(texts);
}

/** iTXt after its keyword: flag, method, language and translated keyword (both ending in 0), text in UTF-8. */
function international(
  data: Uint8Array,
  inflate: (data: Uint8Array) => Buffer | undefined,
): string | undefined {
  const [compressed, method] = data;
  const [, afterLanguage] = cut(data.subarray(2));
  const [, text] = afterLanguage ? cut(afterLanguage) : [];
  if (!text || method !== 0) return undefined;
  return compressed === 1 ? inflate(text)?.toString("utf8") : Buffer.from(text).toString("utf8");
}

/** What stands before the first zero byte, and after it if there is one. */
function cut(data: Uint8Array): [before: Uint8Array, after: Uint8Array | undefined] {
  const zero = data.indexOf(0);
  return zero < 0 ? [data, undefined] : [data.subarray(0, zero), data.subarray(zero + 1)];
}
