import { copyFile, type FileHandle, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { diskError } from "../../../disk/disk-error.js";
import { makeFolder } from "../../../disk/folders.js";
import { syncFolder, writeWhole } from "../../../disk/whole-file.js";

/**
 * A file of JSON lines that is only ever appended to. What `append` has promised is on disk. A line that a crash cut
 * short is the last one, and is dropped when the file is opened again.
 */
export interface Journal {
  append(entry: object): Promise<void>;
  close(): Promise<void>;
}

export interface Damage {
  /** How many lines could not be understood. */
  readonly damaged: number;
  /** Where the file is kept as it was, if any could not. */
  readonly aside?: string;
}

/**
 * Opens a journal, and makes it if need be.
 *
 * A file with lines that cannot be understood (a damaged disk, a hand that changed it) is set aside as it is, and the
 * rest goes on.
 *
 * @param read called for every whole line, in order; false for one that says nothing that can be understood
 * @param compact the lines that say the same as all that were read; the file is replaced by them when it is more
 *   than twice as long
 * @throws DiffusionError DISK
 */
export async function openJournal(
  path: string,
  read: (entry: unknown) => unknown,
  compact: () => readonly object[],
): Promise<Journal & Damage> {
  try {
    await makeFolder(dirname(path));
    const { lines, broken, torn } = parse(await readFile(path, "utf8").catch(whenMissing));
    const damaged = broken + lines.filter((line) => read(line) === false).length;
    const short = compact();
    const aside = `${path}.damaged-${new Date().toISOString().replace(/[:.]/g, "-")}`;
    if (damaged > 0) await copyFile(path, aside);
    if (torn || damaged > 0 || lines.length > 2 * short.length + 100)
      await writeWhole(path, short.map(lineOf).join(""), { mode: 0o600, hint });
    const file = await open(path, "a", 0o600);
    await syncFolder(dirname(path));
    return { ...appender(path, file), damaged, ...(damaged > 0 && { aside }) };
  } catch (cause) {
    throw diskError(path, cause, hint);
  }
}

const hint = "make room on the disk, or give another data folder";

const lineOf = (entry: object): string => `${JSON.stringify(entry)}\n`;

function parse(text: string): { lines: unknown[]; broken: number; torn: boolean } {
  const pieces = text.split("\n");
  const torn = pieces.pop() !== "";
  const lines: unknown[] = [];
  let broken = 0;
  for (const piece of pieces) {
    try {
      lines.push(JSON.parse(piece));
    } catch {
      broken++;
    }
  }
  return { lines, broken, torn };
}

function appender(path: string, file: FileHandle): Journal {
  // One at a time: lines never interleave, and their order is that of the calls.
  let last: Promise<void> = Promise.resolve();
  let broken = false;
  const write = async (entry: object) => {
    try {
      // A line that a full disk cut short is ended first, or it would swallow this one.
      await file.appendFile(`${broken ? "\n" : ""}${lineOf(entry)}`);
      await file.datasync();
      broken = false;
    } catch (cause) {
      broken = true;
      throw diskError(path, cause, hint);
    }
  };
  return {
    append(entry) {
      const written = last.then(() => write(entry));
      last = written.catch(() => {});
      return written;
    },
    async close() {
      await last;
      await file.close();
    },
  };
}

function whenMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "";
  throw error;
}
