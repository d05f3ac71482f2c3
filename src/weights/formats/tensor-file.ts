import { closeSync, openSync, readSync } from "node:fs";
import { quoted } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import { openEmbeddingPicture } from "./embedding-picture.js";
import { openGguf } from "./gguf.js";
import type { PickleValue } from "./pickle-values.js";
import { openSafetensors } from "./safetensors.js";
import { withScales } from "./scaled.js";
import type { TensorFile } from "./tensors.js";
import { openTorchFile } from "./torch-file.js";

/**
 * Opens safetensors, GGUF, a pickle of torch's (.ckpt, .bin, .pt), of which nothing is executed, or a picture with an
 * embedding in it. People rename files freely, so the first bytes decide.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT, UNSUPPORTED
 */
export function openTensorFile(path: string): TensorFile {
  const start = firstBytes(path);
  if (start.toString("latin1", 0, 4) === "\x89PNG") return openEmbeddingPicture(path);
  if (start.toString("latin1", 0, 4) === "GGUF") return openGguf(path);
  // A torch archive is a zip; its older format is a pickle. Safetensors has the header's brace at byte 8, and a length
  // before it that may begin with any byte.
  const isTorch = start.toString("latin1", 0, 2) === "PK" || (start[0] === 0x80 && start[8] !== 0x7b);
  if (isTorch) return openPickle(path, start);
  const file = openSafetensors(path);
  try {
    return withScales(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

function openPickle(path: string, start: Buffer): TensorFile {
  try {
    const { value, ...file } = openTorchFile(path);
    const header = Buffer.from(JSON.stringify([...file.tensors]));
    return { ...file, header, metadata: numbersOf(value) };
  } catch (cause) {
    if (!(cause instanceof DiffusionError) || cause.code === "FILE_MISSING") throw cause;
    const first = firstMember(start);
    if (first && !first.endsWith("data.pkl"))
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path} is a zip archive, and not one of torch's; it begins with ${quoted(first)}`,
        { cause, hint: "Unpack it, and give what is in it." },
      );
    throw new DiffusionError(
      cause.code,
      `pickle checkpoint that cannot be used, a .safetensors file is needed: ${cause.message}`,
      {
        cause,
        hint: "Of a pickle, tensors are read and nothing is run. Download it again, or get safetensors.",
      },
    );
  }
}

/** The name of a zip archive's first member; torch's is data.pkl, in a folder. */
function firstMember(start: Buffer): string | undefined {
  if (start.readUInt32LE(0) !== 0x04034b50) return undefined;
  return start.toString("utf8", 30, Math.min(start.length, 30 + start.readUInt16LE(26)));
}

/** Numbers that stand beside the tensors of a checkpoint, such as `global_step`. */
function numbersOf(value: PickleValue): Map<string, string> {
  const numbers = new Map<string, string>();
  for (const [key, entry] of value instanceof Map ? value : [])
    if (typeof key === "string" && (typeof entry === "number" || typeof entry === "bigint"))
      numbers.set(key, `${entry}`);
  return numbers;
}

/** Enough for the magic numbers, and for the name of an archive's first member. */
const FIRST_BYTES = 256;

function firstBytes(path: string): Buffer {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    const isAbsent = (cause as NodeJS.ErrnoException).code === "ENOENT";
    const what = isAbsent ? ": there is no such file" : ` cannot be opened: ${(cause as Error).message}`;
    throw new DiffusionError("FILE_MISSING", path + what, { cause });
  }
  const bytes = Buffer.alloc(FIRST_BYTES);
  try {
    readSync(file, bytes, 0, bytes.length, 0);
    return bytes;
  } catch (cause) {
    throw new DiffusionError("FILE_FORMAT", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  } finally {
    closeSync(file);
  }
}
