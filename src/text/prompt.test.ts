import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenPath } from "../testing/golden.js";
import { chunkPieces, emptyChunk, padChunks } from "./chunks.js";
import { countTokens, extractNetworks, parsePrompt } from "./prompt.js";
import { createTokenizer } from "./tokenizer.js";

const read = (file: string) => readFileSync(goldenPath(file), "utf8");
const tokenizer = createTokenizer({
  "vocab.json": read("tokenizers/tokenizer-clip/vocab.json"),
  "merges.txt": read("tokenizers/tokenizer-clip/merges.txt"),
});
const ids = (text: string) => tokenizer.tokens(text);
/** The tokens of a chunk without begin, end and padding. */
const inside = (chunk: { ids: readonly number[] }) => chunk.ids.slice(1, chunk.ids.indexOf(tokenizer.eos));
const only = (prompt: string, options: Parameters<typeof parsePrompt>[2]) =>
  parsePrompt(prompt, tokenizer, options).parts[0]!.ranges[0]!;

describe("plain prompts", () => {
  it("are what the tokenizer makes of them, brackets and all", () => {
    for (const { text } of JSON.parse(read("tokenizer/clip.json")).cases as { text: string }[]) {
      const { chunks, lost, tokens } = only(text, {});
      expect(chunks.map((chunk) => chunk.ids)).toEqual([tokenizer.encode(text)]);
      expect(chunks[0]!.weights).toEqual(Array(77).fill(1));
      expect(tokens).toBe(ids(text).length);
      expect(lost === "").toBe(ids(text.trim()).length <= 75);
    }
  });

  it("name the text that is cut off", () => {
    expect(only(`${"cat ".repeat(75)}, a hat`, {}).lost).toBe(", a hat");
  });
});

describe("chunks", () => {
  it("hold 75 tokens, with begin, end, padding and weights", () => {
    const { chunks, tokens } = only(`(${"cat ".repeat(80)}:1.5)`, { syntax: "a1111" });
    expect(tokens).toBe(80);
    expect(chunks.map(inside)).toEqual([ids("cat ".repeat(75)), ids("cat ".repeat(5))]);
    expect(chunks[0]!.weights).toEqual([1, ...Array(75).fill(1.5), 1]);
    expect(chunks[1]!.weights).toEqual([1, ...Array(5).fill(1.5), ...Array(71).fill(1)]);
  });

  it("end at BREAK", () => {
    const { chunks, tokens } = only("a cat BREAK a dog", { syntax: "a1111" });
    expect(chunks.map(inside)).toEqual([ids("a cat"), ids("a dog")]);
    expect(tokens).toBe(77);
  });

  it("do not break a phrase whose comma is near", () => {
    const [comma] = ids(",") as [number];
    const near = only(`${"cat ".repeat(60)}, ${"dog ".repeat(30)}`, { syntax: "a1111" });
    expect(near.chunks.map((chunk) => inside(chunk).length)).toEqual([61, 30]);
    expect(inside(near.chunks[0]!).at(-1)).toBe(comma);
    const far = only(`${"cat ".repeat(54)}, ${"dog ".repeat(30)}`, { syntax: "a1111" });
    expect(far.chunks.map((chunk) => inside(chunk).length)).toEqual([75, 10]);
    const edge = only(`${"cat ".repeat(55)}, ${"dog ".repeat(30)}`, { syntax: "a1111" });
    expect(edge.chunks.map((chunk) => inside(chunk).length)).toEqual([56, 30]);
    const off = only(`${"cat ".repeat(60)}, ${"dog ".repeat(30)}`, { syntax: "a1111", commaBacktrack: 0 });
    expect(off.chunks.map((chunk) => inside(chunk).length)).toEqual([75, 16]);
  });

  it("keep the vectors of an added word together", () => {
    const withWord = tokenizer.withWords([{ word: "<style>", vectors: 4 }]);
    const { chunks } = chunkPieces([{ text: `${"cat ".repeat(73)} <style>`, weight: 1 }], withWord);
    expect(chunks.map((chunk) => inside(chunk).length)).toEqual([73, 4]);
    const huge = tokenizer.withWords([{ word: "<style>", vectors: 100 }]);
    const lengths = chunkPieces([{ text: "cat <style>", weight: 1 }], huge).chunks.map(
      (chunk) => inside(chunk).length,
    );
    expect(lengths).toEqual([1, 75, 25]);
  });

  it("never lose, repeat or reorder a token", () => {
    const words = fc.array(
      fc.constantFrom("cat", ",", "photograph", "(dog:1.2)", "[fog]", "BREAK", "zebra's"),
      { maxLength: 250 },
    );
    fc.assert(
      fc.property(words, fc.integer({ min: 0, max: 75 }), (list, commaBacktrack) => {
        const { chunks } = only(list.join(" "), { syntax: "a1111", commaBacktrack });
        const plain = list
          .filter((word) => word !== "BREAK")
          .map((word) => word.replace(/[([]([a-z]+).*/, "$1"));
        expect(chunks.flatMap(inside)).toEqual(plain.flatMap(ids));
        for (const chunk of chunks) expect([chunk.ids.length, chunk.weights.length]).toEqual([77, 77]);
      }),
      { numRuns: 100 },
    );
  });

  it("can be made as many on both sides", () => {
    const { chunks } = only("a cat", { syntax: "a1111" });
    expect(padChunks(chunks, 3, tokenizer)).toEqual([
      chunks[0],
      emptyChunk(tokenizer),
      emptyChunk(tokenizer),
    ]);
    expect(emptyChunk(tokenizer).ids).toEqual(tokenizer.encode(""));
  });
});

describe("the web UI's syntax", () => {
  it("gives ranges of evaluations, counted from 0, that follow each other", () => {
    const { parts } = parsePrompt("a [cat:dog:0.5] AND [rain|snow] :0.7", tokenizer, {
      syntax: "a1111",
      steps: 4,
    });
    const summary = parts.map(({ weight, ranges }) => [
      weight,
      ranges.map(({ from, to, text }) => [from, to, text]),
    ]);
    expect(summary).toEqual([
      [
        1,
        [
          [0, 3, "a cat"],
          [3, 4, "a dog"],
        ],
      ],
      [
        0.7,
        [
          [0, 2, " rain"],
          [2, 3, " snow"],
          [3, 4, " rain"],
        ],
      ],
    ]);
    expect(inside(parts[0]!.ranges[1]!.chunks[0]!)).toEqual(ids("a dog"));
  });

  it("takes a number behind a colon for a weight only where there is an AND", () => {
    expect(parsePrompt("wide, 16:9", tokenizer, { syntax: "a1111" }).parts).toMatchObject([{ weight: 1 }]);
    const { parts } = parsePrompt("a cat :1.2 AND a dog AND a fox :-.5", tokenizer, { syntax: "a1111" });
    expect(parts.map(({ weight, ranges }) => [weight, ranges[0]!.text.trim()])).toEqual([
      [1.2, "a cat"],
      [1, "a dog"],
      [-0.5, "a fox"],
    ]);
  });

  it("takes networks out of the text", () => {
    expect(
      extractNetworks("a <lora:oil paint:0.8> cat<lora:x><lyco:y:0.5:-1><lora:z:unet=0.2>, <my-style>"),
    ).toEqual({
      text: "a  cat, <my-style>",
      networks: [
        { kind: "lora", name: "oil paint", weight: 0.8, unetWeight: 0.8 },
        { kind: "lora", name: "x", weight: 1, unetWeight: 1 },
        { kind: "lyco", name: "y", weight: 0.5, unetWeight: -1 },
        { kind: "lora", name: "z", weight: 1, unetWeight: 0.2 },
      ],
    });
    for (const bad of ["<lora:a:strong>", "<lora:a:>", "<lora:a:te=>"])
      expect(() => extractNetworks(bad)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
    const { networks: keyed } = extractNetworks(
      "<lora:a:te=0.5:0.7><lora:b:0.5:0.7:unet=0.1><lora:c:unet=0:te=2>",
    );
    expect(keyed.map(({ weight, unetWeight }) => [weight, unetWeight])).toEqual([
      [0.5, 0.5], // a value without a key is the text encoder's, wherever it stands, and the key goes before it
      [0.5, 0.1],
      [2, 0],
    ]);
    for (const [other, name] of [
      ["<lora:a:0.5:0.5:64>", "dyn"],
      ["<lora:a:0.5:dyn=64>", "dyn"],
      ["<lora:a:1:lbw=MIDD>", "lbw"],
      ["<lora:a:1:start=3>", "start"],
      ["<lora:a:1:foo=3>", "foo"],
    ] as const)
      expect(() => extractNetworks(other)).toThrow(
        expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining(name) }),
      );
    const { networks, parts } = parsePrompt("<lora:x:0.3>a cat", tokenizer, { syntax: "a1111" });
    expect([networks.length, parts[0]!.ranges[0]!.text]).toEqual([1, "a cat"]);
  });
});

describe("compel's syntax", () => {
  it("gives weights, and the prompt without each word whose weight is below 1", () => {
    const { chunks, without } = only("a tall+ (red house)0.5", { syntax: "compel" });
    const [a, tall, red, house] = ["a", "tall", "red", "house"].map((word) => ids(word)[0]);
    expect(inside(chunks[0]!)).toEqual([a, tall, red, house]);
    expect(chunks[0]!.weights.slice(0, 6)).toEqual([1, 1, 1.1, 0.5, 0.5, 1]);
    expect(without.map(({ weight, chunks }) => [weight, chunks.map(inside)])).toEqual([[0.5, [[a, tall]]]]);
  });
});

describe("counting tokens", () => {
  it("counts the longest stage against the chunks that it takes", () => {
    expect(countTokens("", tokenizer)).toEqual({ tokens: 0, room: 75 });
    expect(countTokens("a [cat:red dog:0.5]", tokenizer, { syntax: "a1111", steps: 10 })).toEqual({
      tokens: 3,
      room: 75,
    });
    expect(countTokens("cat ".repeat(80), tokenizer, { syntax: "a1111" })).toEqual({ tokens: 80, room: 150 });
    expect(countTokens("cat ".repeat(80), tokenizer)).toEqual({ tokens: 80, room: 75 });
  });
});

it("refuses another syntax and names a near one", () => {
  expect(() => parsePrompt("a", tokenizer, { syntax: "compell" as never })).toThrow(
    expect.objectContaining({ code: "BAD_OPTION", hint: 'Did you mean "compel"?' }),
  );
});

it("has the same ids as the reference for words of textual inversion", () => {
  const models = goldenCases("textual-inversion").filter((c) => Array.isArray(c.expected.ids));
  expect(models.length).toBeGreaterThan(0);
  for (const { config, inputs, expected } of models) {
    const folder = `${config.model}/tokenizer`;
    const plain = createTokenizer({
      "vocab.json": read(`${folder}/vocab.json`),
      "merges.txt": read(`${folder}/merges.txt`),
      "tokenizer_config.json": read(`${folder}/tokenizer_config.json`),
    });
    const withWord = plain.withWords([{ word: config.token, vectors: config.vectors }]);
    const { parts } = parsePrompt(inputs.prompt, withWord);
    expect(parts[0]!.ranges[0]!.chunks.map((chunk) => chunk.ids)).toEqual([expected.ids]);
  }
});
