import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenPath } from "../testing/golden.js";
import { createTokenizer } from "../text/tokenizer.js";
import { loadTokenizer } from "./tokenizer-files.js";

interface TextCase {
  readonly text: string;
  readonly ids: number[];
  readonly ids_truncated?: number[];
  readonly decoded?: string;
}

const read = (file: string) => JSON.parse(readFileSync(goldenPath(file), "utf8"));

describe("ids are the reference's, text by text", () => {
  for (const { id, config, expected } of goldenCases("tokenizer").filter((c) => !c.config.pad_token))
    it(id, async () => {
      const tokenizer = await loadTokenizer(goldenPath(config.tokenizer));
      const { cases, bos, eos, pad, max_length, vocab_size } = read(expected.cases);
      expect(tokenizer).toMatchObject({ bos, eos, pad, maxLength: max_length, size: vocab_size });
      expect(cases).toHaveLength(expected.count);
      for (const { text, ids, ids_truncated, decoded } of cases as TextCase[]) {
        expect([bos, ...tokenizer.tokens(text), eos], text).toEqual(ids);
        const framed: number[] = ids_truncated ?? ids;
        expect(tokenizer.encode(text), text).toEqual([
          ...framed,
          ...Array(max_length - framed.length).fill(pad),
        ]);
        if (decoded !== undefined)
          expect(tokenizer.decode(tokenizer.tokens(text)), text).toBe(decoded.trim());
      }
    });

  it("does not depend on which of its files a folder has", async () => {
    const folder = "tokenizers/tokenizer-tiny";
    const text = (name: string) => readFileSync(goldenPath(`${folder}/${name}`), "utf8");
    const slow = createTokenizer({ "vocab.json": text("vocab.json"), "merges.txt": text("merges.txt") });
    const fast = createTokenizer({ "tokenizer.json": text("tokenizer.json") });
    for (const { text } of read("tokenizer/tiny.json").cases as TextCase[])
      expect(slow.encode(text)).toEqual(fast.encode(text));
  });
});

it("pads with the token of Stable Diffusion 2", async () => {
  for (const { config, expected } of goldenCases("tokenizer").filter((c) => c.config.pad_token)) {
    const text = (name: string) => readFileSync(goldenPath(`${config.tokenizer}/${name}`), "utf8");
    const tokenizer = createTokenizer({
      "vocab.json": text("vocab.json"),
      "merges.txt": text("merges.txt"),
      "tokenizer_config.json": text("tokenizer_config.json"),
      "special_tokens_map.json": JSON.stringify({
        ...JSON.parse(text("special_tokens_map.json")),
        pad_token: config.pad_token,
      }),
    });
    for (const { text, ids } of read(expected.cases) as TextCase[])
      expect(tokenizer.encode(text)).toEqual(ids);
  }
});

describe("textual inversion", () => {
  it.each(goldenCases("textual-inversion").filter((c) => Array.isArray(c.expected.ids)))(
    "$id",
    async ({ config, inputs, expected }) => {
      const plain = await loadTokenizer(goldenPath(config.model));
      const tokenizer = plain.withWords([{ word: config.token, vectors: config.vectors }]);
      expect(tokenizer.encode(inputs.prompt)).toEqual(expected.ids);
      expect(tokenizer.size).toBe(plain.size + config.vectors);
    },
  );
});

describe("folders that cannot be used", () => {
  it.each(goldenCases("bad-folder").filter((c) => c.id.includes("tokenizer-")))(
    "$id",
    async ({ id, files }) => {
      const folder = goldenPath(files[0]!.replace(/\/tokenizer\/.*$/, ""));
      await expect(loadTokenizer(folder), id).rejects.toMatchObject({
        code: "FILE_FORMAT",
        hint: expect.any(String),
      });
    },
  );

  it("says which folder or file is missing", async () => {
    await expect(loadTokenizer(goldenPath("no-such-folder"))).rejects.toMatchObject({ code: "FILE_MISSING" });
    await expect(loadTokenizer(goldenPath("images"))).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: expect.stringMatching(/no tokenizer\.json and no vocab\.json.*images/),
    });
  });
});
