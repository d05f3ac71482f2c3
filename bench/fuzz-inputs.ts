import fc from "fast-check";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What breaks readers of JSON that trust it. */
const nasty: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    "",
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    [],
    {},
    [[]],
    "__proto__",
    "constructor",
    "../../etc/passwd",
    "http://127.0.0.1/",
    "\ud800",
    "data:image/png;base64,",
    "iVBORw0KGgo=",
    "euler",
    "-1",
    "1e3",
    "99999999999999999999",
  ),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.string({ maxLength: 5 }).map((text) => text.repeat(5000)),
  fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>,
  fc.nat({ max: 2000 }).map((depth) => nested(depth)),
);

function nested(depth: number): Json {
  let value: Json = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

interface JsonEdit {
  readonly at: number;
  readonly how: "replace" | "remove" | "add" | "rename";
  readonly key: string;
  readonly value: Json;
}

const edits = fc.array(
  fc.record({
    at: fc.nat(),
    how: fc.constantFrom<JsonEdit["how"]>("replace", "replace", "remove", "add", "rename"),
    key: fc.oneof(
      fc.constantFrom("__proto__", "constructor", "width", "seed", "image", ""),
      fc.string({ maxLength: 8 }),
    ),
    value: nasty,
  }),
  { minLength: 1, maxLength: 4 },
);

/** A value with some of its parts replaced, left out, added or under other names. */
export const damagedJson = (value: unknown): fc.Arbitrary<Json> =>
  edits.map((list) => list.reduce(editJson, structuredClone(value) as Json));

function editJson(root: Json, { at, how, key, value }: JsonEdit): Json {
  const holders: { holder: Json[] | { [key: string]: Json }; key: string }[] = [];
  const visit = (node: Json, depth: number): void => {
    if (typeof node !== "object" || node === null || depth > 20) return;
    for (const [name, child] of Object.entries(node)) {
      holders.push({ holder: node, key: name });
      visit(child, depth + 1);
    }
  };
  visit(root, 0);
  if (holders.length === 0) return value;
  const { holder, key: old } = holders[at % holders.length]!;
  const target = holder as { [key: string]: Json };
  const put = (name: string, what: Json) =>
    Object.defineProperty(target, name, {
      value: what,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  const before = target[old]!;
  if (how === "replace") put(old, value);
  if (how === "add" && !Array.isArray(holder)) put(key, value);
  if (how === "add" && Array.isArray(holder)) holder.push(value);
  if (how === "remove" || how === "rename") {
    if (Array.isArray(holder)) holder.splice(Number(old), 1);
    else delete target[old];
  }
  if (how === "rename" && !Array.isArray(holder)) put(key, before);
  return root;
}

interface ByteEdit {
  /** 0 to 1: where. */
  readonly at: number;
  readonly how: "flip" | "set" | "cut" | "insert" | "remove" | "repeat" | "number";
  readonly length: number;
  readonly value: number;
}

const byteEdits = fc.array(
  fc.record({
    // Headers stand at the beginning.
    at: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 0.05, noNaN: true })),
    how: fc.constantFrom<ByteEdit["how"]>("flip", "set", "cut", "insert", "remove", "repeat", "number"),
    length: fc.integer({ min: 1, max: 64 }),
    value: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 0xff, 0x7f, 0x80, 0x22, 0x7b)),
  }),
  { minLength: 1, maxLength: 5 },
);

/** Bytes with some of them changed, gone, doubled, or cut off. */
export const damagedBytes = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  byteEdits.map((list) => list.reduce(editBytes, Uint8Array.from(bytes)));

function editBytes(
  bytes: Uint8Array<ArrayBuffer>,
  { at, how, length, value }: ByteEdit,
): Uint8Array<ArrayBuffer> {
  const from = Math.min(bytes.length, Math.floor(at * bytes.length));
  const part = bytes.subarray(from, from + length);
  const glued = (...parts: Uint8Array[]) => Uint8Array.from(Buffer.concat(parts));
  switch (how) {
    case "cut":
      return bytes.slice(0, from);
    case "remove":
      return glued(bytes.subarray(0, from), bytes.subarray(from + length));
    case "insert":
      return glued(bytes.subarray(0, from), new Uint8Array(length).fill(value), bytes.subarray(from));
    case "repeat":
      return glued(bytes.subarray(0, from), part, part, bytes.subarray(from + length));
    case "number":
      // As little and as big endian sizes.
      part.subarray(0, 8).fill(value & 1 ? 0xff : 0);
      return bytes;
    case "flip":
      if (from < bytes.length) bytes[from]! ^= 1 << (value & 7);
      return bytes;
    case "set":
      part.fill(value);
      return bytes;
  }
}

/** Text of words and marks that mean something in a prompt, nested at random. */
export const promptText: fc.Arbitrary<string> = fc
  .array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.constantFrom("(", ")", "[", "]", ":", "|", "\\", "<", ">", ",", " ", "+", "-"),
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          "BREAK",
          " BREAK ",
          " AND ",
          "AND",
          ":1.3)",
          ":0.5]",
          ":-2)",
          ":1e999)",
          "::3]",
          "<lora:ink:0.8>",
          "<lora:ink:>",
          "<lora::::>",
          "(a)++",
          "('a', 'b').blend(0.1, 0.9)",
          '("a", "b").and()',
          "dog",
          "a ",
        ),
      },
      { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
      { weight: 1, arbitrary: fc.double().map(String) },
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(""));
