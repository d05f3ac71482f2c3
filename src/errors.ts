/** What went wrong, for programs; the message says it to people. */
export type ErrorCode =
  | "BAD_OPTION" // an option, configuration or argument that cannot be used
  | "BAD_IMAGE" // an image that cannot be decoded, or is too large to
  | "FILE_FORMAT" // a file that is not what it should be (safetensors, JSON, tokenizer, …)
  | "FILE_MISSING" // a file or folder that should be there and is not
  | "WEIGHT_MISSING" // the checkpoint lacks a tensor that the network asks for
  | "WEIGHT_UNUSED" // the checkpoint holds a tensor that the network does not know
  | "WEIGHT_SHAPE" // a tensor of another shape than the network asks for
  | "LAYER_SHAPE" // shapes that do not fit each other inside a network
  | "MODEL_KIND" // a model folder of a kind that cannot do what was asked
  | "UNSUPPORTED" // something real that this library (or this machine) does not do
  | "NATIVE_MISSING" // TensorFlow's library or the addon cannot be loaded
  | "DOWNLOAD" // the network or the hub refused
  | "DISK" // no space, no permission
  | "WORKER" // the process that computes died or hung
  | "QUEUE" // the queue that processes share cannot be reached
  | "INTERNAL"; // our mistake

/** What marks the errors of every copy of this library: a program may hold it as ESM and as CommonJS. */
const mark = Symbol.for("tfjs-diffusion.DiffusionError");

/** The one error of this library: what was expected, what came, where; the hint says what to do. */
export class DiffusionError extends Error {
  readonly code: ErrorCode;
  readonly hint?: string;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DiffusionError";
    this.code = code;
    if (options.hint !== undefined) this.hint = options.hint;
    Object.defineProperty(this, mark, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && mark in value;
  }
}

/** An error that can only be our own mistake. */
export const internal = (message: string): DiffusionError =>
  new DiffusionError("INTERNAL", `internal: ${message}`);

/** What arguments of public functions are, with the words for it. */
const kinds = {
  text: ["text", (value: unknown) => typeof value === "string"],
  object: ["an object", (value: unknown) => typeof value === "object" && !Array.isArray(value)],
  list: ["a list", (value: unknown) => Array.isArray(value)],
  iterable: [
    "a list or another iterable",
    (value: unknown) => typeof value === "object" && Symbol.iterator in (value ?? {}),
  ],
  bytes: ["bytes (Uint8Array)", (value: unknown) => value instanceof Uint8Array],
  picture: [
    "a picture (an object with width, height and data)",
    (value: unknown) => typeof value === "object" && ArrayBuffer.isView(Reflect.get(value ?? {}, "data")),
  ],
  function: ["a function", (value: unknown) => typeof value === "function"],
} as const;

/**
 * What JavaScript may pass where a type is declared: told in words here, and not by whatever stumbles over it.
 *
 * @throws DiffusionError BAD_OPTION for what is of no such kind
 */
export function demand(what: string, value: unknown, ...expected: readonly (keyof typeof kinds)[]): void {
  const isPromise = value instanceof Promise;
  if (!isPromise && value !== null && expected.some((kind) => kinds[kind][1](value))) return;
  const words = expected.map((kind) => kinds[kind][0]).join(" or ");
  throw new DiffusionError("BAD_OPTION", `${what}: expected ${words}, got ${kindInWords(value)}`, {
    ...(isPromise && { hint: "await it first" }),
  });
}

/** Any value as an error names it; what has no short form by its kind. */
export function kindInWords(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value instanceof Promise) return "a promise";
  if (Array.isArray(value)) return "a list";
  if (value instanceof URL) return "a URL";
  if (ArrayBuffer.isView(value)) return "bytes";
  if (value === null || ["number", "bigint", "boolean"].includes(typeof value)) return String(value);
  if (typeof value === "string") return value === "" ? "an empty text" : JSON.stringify(value.slice(0, 60));
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * The candidate closest to `name` by edit distance, if it is close enough to be a typing mistake. Two letters that stand
 * in each other's place are one.
 */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  demand("nearest", name, "text");
  demand("candidates", candidates, "iterable");
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    demand("candidates", candidate, "text");
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  let before: readonly number[] = [];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwapped ? before[j - 2]! + 1 : substitution;
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, substitution, swap));
    }
    before = previous;
    previous = row;
  }
  return previous[b.length]!;
}
