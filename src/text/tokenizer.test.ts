import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { createTokenizer } from "./tokenizer.js";
import type { TokenizerFiles } from "./tokenizer-definition.js";

const text = (name: string) => readFileSync(goldenPath(`tokenizers/tokenizer-tiny/${name}`), "utf8");
const files = { "vocab.json": text("vocab.json"), "merges.txt": text("merges.txt") };
const tokenizer = createTokenizer(files);

describe("encode", () => {
  it("always has a begin token, an end token and the length asked for", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 2, max: 90 }), (prompt, maxLength) => {
        const ids = tokenizer.encode(prompt, { maxLength });
        const tokens = tokenizer.tokens(prompt);
        expect(ids).toHaveLength(maxLength);
        expect(ids[0]).toBe(tokenizer.bos);
        expect(ids[Math.min(tokens.length, maxLength - 2) + 1]).toBe(tokenizer.eos);
        expect(ids.every((id) => id >= 0 && id < tokenizer.size)).toBe(true);
        expect(tokenizer.tokens(`\n ${prompt}\t`)).toEqual(tokens);
      }),
      { numRuns: 200 },
    );
  });

  it("takes long text in bounded time", () => {
    expect(tokenizer.tokens("zx".repeat(50_000)).length).toBeGreaterThan(10_000);
  });

  it.each([0, 1, 7.5, Number.NaN])("refuses a length of %s", (maxLength) => {
    expect(() => tokenizer.encode("a", { maxLength })).toThrow(
      expect.objectContaining({ code: "BAD_OPTION" }),
    );
  });
});

describe("added words", () => {
  const withWords = tokenizer.withWords([
    { word: "<style>", vectors: 2 },
    { word: "art", vectors: 1 },
    { word: "EasyNegative", vectors: 3 },
  ]);
  const first = tokenizer.size;

  it("stand for their ids, whatever the case, and not inside other words", () => {
    const a = tokenizer.tokens("a");
    expect(withWords.tokens("a <STYLE>a")).toEqual([...a, first, first + 1, ...a]);
    expect(withWords.tokens("easynegative")).toEqual([first + 3, first + 4, first + 5]);
    expect(withWords.tokens("cartoon, art.")).toEqual([
      ...tokenizer.tokens("cartoon,"),
      first + 2,
      ...tokenizer.tokens("."),
    ]);
    expect(tokenizer.tokens("<style>")).not.toContain(first);
    // a long s counts as an s for regular expressions, but not as its lower case
    expect(withWords.tokens("<ſtyle>")).toEqual(tokenizer.tokens("<ſtyle>"));
  });

  it("read back as their names", () => {
    expect(withWords.decode(withWords.tokens("a photograph of <style>, art"))).toBe(
      "a photograph of <style> , art",
    );
  });

  it("cannot be added twice or without vectors", () => {
    for (const added of [
      { word: "ART", vectors: 1 },
      { word: "x", vectors: 0 },
      { word: " ", vectors: 1 },
    ])
      expect(() => withWords.withWords([added])).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
  });
});

describe("which token pads", () => {
  const pad = (more: TokenizerFiles) => createTokenizer({ ...files, ...more }).pad;
  const json = (pad_token: unknown, more = {}) => JSON.stringify({ pad_token, ...more });

  it("is the end token unless a file says otherwise; special_tokens_map.json counts more than an old config", () => {
    expect(pad({})).toBe(tokenizer.eos);
    expect(pad({ "tokenizer_config.json": json("!") })).toBe(0);
    expect(pad({ "special_tokens_map.json": json({ content: "!" }) })).toBe(0);
    expect(
      pad({ "special_tokens_map.json": json("!"), "tokenizer_config.json": json("<|endoftext|>") }),
    ).toBe(0);
    expect(
      pad({
        "special_tokens_map.json": json("!"),
        "tokenizer_config.json": json("<|endoftext|>", { added_tokens_decoder: { 0: { content: "!" } } }),
      }),
    ).toBe(tokenizer.eos);
  });
});

describe("files that cannot be used", () => {
  const replaced = (change: (tokenizer: { model: { vocab: object; merges: unknown[] } }) => void) => {
    const definition = JSON.parse(text("tokenizer.json"));
    change(definition);
    return { "tokenizer.json": JSON.stringify(definition) };
  };

  it.each<[string, TokenizerFiles, RegExp]>([
    [
      "JSON cut short",
      { ...files, "vocab.json": files["vocab.json"].slice(0, 1000) },
      /vocab\.json .*not JSON/,
    ],
    ["ids that are not numbers", { ...files, "vocab.json": '{"a": "0"}' }, /vocab\.json .*whole numbers/],
    ["a list for a vocabulary", { ...files, "vocab.json": "[1, 2]" }, /vocab\.json/],
    ["a merge of three", { ...files, "merges.txt": "i n g" }, /merges\.txt .*"i n g".* not a pair/],
    ["a merge of unknown tokens", { ...files, "merges.txt": "qq zz" }, /merges\.txt .*"qq"/],
    [
      "a pad token that does not exist",
      { ...files, "tokenizer_config.json": '{"pad_token": "nope"}' },
      /pad_token "nope"/,
    ],
    [
      "another algorithm",
      replaced((t) => Object.assign(t.model, { type: "WordPiece" })),
      /tokenizer\.json .*type/,
    ],
    ["no merges", replaced((t) => Object.assign(t.model, { merges: null })), /list of merges/],
    ["merges of numbers", replaced((t) => Object.assign(t.model, { merges: [[1, 2]] })), /not a pair/],
    [
      "an unknown normalizer",
      replaced((t) => Object.assign(t, { normalizer: { type: "X" } })),
      /Unknown Normalizer/,
    ],
    ["nothing at all", { "tokenizer.json": "null" }, /tokenizer\.json/],
  ])("%s", (_, broken, message) => {
    expect(() => createTokenizer(broken)).toThrow(
      expect.objectContaining({ code: "FILE_FORMAT", message: expect.stringMatching(message) }),
    );
  });
});
