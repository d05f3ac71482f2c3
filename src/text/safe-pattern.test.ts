import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { isSafePattern } from "./safe-pattern.js";
import { createTokenizer } from "./tokenizer.js";

const clips = [
  "\\s+",
  "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
  " ?\\p{L}+| ?\\p{N}+",
];

test("CLIP's patterns are safe; those that can take for ever are not", () => {
  for (const pattern of clips) expect([pattern, isSafePattern(pattern)]).toEqual([pattern, true]);
  for (const pattern of [
    ...[
      "(a+)+$",
      "(?:a|a)*b",
      "a+a+b",
      "a*b",
      "\\s+(?!\\S)",
      "(.)\\1",
      "[a",
      "\\",
      "\\p{",
      "a++",
      "a{1,9}",
      "^a",
      "a$",
    ],
    "x".repeat(2000),
  ])
    expect([pattern, isSafePattern(pattern)]).toEqual([pattern, false]);
});

test("whatever is safe is linear: ten times the text takes no more than ten times as many steps", () => {
  const atoms = fc.constantFrom(
    "a",
    "b",
    "\\s",
    "[ab]",
    "[^a]",
    "\\p{L}",
    "a?",
    "[ab]?",
    "a+",
    "[ab]*",
    "|",
    ".",
  );
  const pattern = fc.array(atoms, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(""));
  const texts = ["a".repeat(20_000), "ab".repeat(10_000), `${"a".repeat(20_000)}c`];
  fc.assert(
    fc.property(pattern, (source) => {
      fc.pre(isSafePattern(source));
      // Quadratic time is hundreds of millions of steps here, seconds on any machine; linear time a few milliseconds.
      // A busy machine may stop the clock once, not three times in a row.
      const quick = () => {
        const began = performance.now();
        for (const text of texts) text.match(new RegExp(source, "gu"));
        return performance.now() - began < 1000;
      };
      expect(quick() || quick() || quick()).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a tokenizer.json with another pattern is refused, with the pattern", () => {
  const read = (name: string) => readFileSync(goldenPath(`tokenizers/tokenizer-tiny/${name}`), "utf8");
  const vocab = JSON.parse(read("vocab.json")) as object;
  const merges = read("merges.txt")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const made = (pattern: string) => () =>
    createTokenizer({
      "tokenizer.json": JSON.stringify({
        added_tokens: [],
        normalizer: {
          type: "Sequence",
          normalizers: [{ type: "Replace", pattern: { Regex: pattern }, content: " " }],
        },
        pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
        post_processor: null,
        decoder: null,
        model: { type: "BPE", vocab, merges, end_of_word_suffix: "</w>" },
      }),
    });
  expect(made("\\s+")).not.toThrow();
  expect(made("(\\s+)+x")).toThrow(
    expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining("(\\\\s+)+x") }),
  );
});
