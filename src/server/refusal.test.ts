import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DiffusionError } from "../errors.js";
import { goldenPath } from "../testing/golden.js";
import { testServer } from "./fixture.js";
import { publicErrorOf, publicRefusalOf, withoutFolders } from "./refusal.js";

const folder = mkdtempSync(join(tmpdir(), "refusal-"));
mkdirSync(join(folder, "loras"));
writeFileSync(join(folder, "loras", "ink.safetensors"), "");
afterAll(() => rmSync(folder, { recursive: true }));

test("who asks over HTTP hears a file's name, and not where it lies", () => {
  const file = join(folder, "loras", "ink.safetensors");
  const error = new DiffusionError(
    "WEIGHT_SHAPE",
    `${file}: down.weight has the wrong shape (in "${file}")`,
    {
      hint: `look into ${join(folder, "loras")}, or ask GET /models/hub`,
    },
  );
  expect(publicErrorOf(error)).toEqual({
    code: "WEIGHT_SHAPE",
    message: 'ink.safetensors: down.weight has the wrong shape (in "ink.safetensors")',
    hint: "look into loras, or ask GET /models/hub",
  });
});

test("an answer says no more than that, and nothing of which folders there are", async () => {
  const own = new DiffusionError("BAD_OPTION", `there is no scheduler ${folder}/loras`);
  expect(publicRefusalOf(own)).toMatchObject({ status: 400, message: own.message });
  const server = await testServer();
  try {
    const path = join(folder, "odd");
    cpSync(goldenPath("models/tiny-sd1"), path, { recursive: true });
    const pre_tokenizer = {
      type: "Split",
      pattern: { Regex: "(a|aa)+$" },
      behavior: "Isolated",
      invert: false,
    };
    writeFileSync(join(path, "tokenizer", "tokenizer.json"), JSON.stringify({ pre_tokenizer }));
    await server.parts.models.addPath(path);
    const answer = await server.send("POST", "/tokens", { model: "odd", text: "a" });
    const text = await answer.text();
    expect([answer.status, text]).toEqual([500, expect.stringContaining("Tokenizer: tokenizer.json")]);
    expect(text).not.toContain(folder);
    // The operator hears all of it.
    expect(server.log.join("\n")).toContain(join(path, "tokenizer"));
  } finally {
    await server.parts.jobs.close(0);
  }
});

test("addresses, routes, names of models and shares stay", () => {
  for (const text of [
    "see https://example.org/owner/name/file.json",
    "owner/name is not on the hub",
    "see /sdapi/v1/sd-models",
    "1/2 of 3 / 4",
  ])
    expect(withoutFolders(text)).toBe(text);
});
