import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DiffusionError } from "../errors.js";
import { publicErrorOf, withoutFolders } from "./refusal.js";

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

test("addresses, routes, names of models and shares stay", () => {
  for (const text of [
    "see https://example.org/owner/name/file.json",
    "owner/name is not on the hub",
    "see /sdapi/v1/sd-models",
    "1/2 of 3 / 4",
  ])
    expect(withoutFolders(text)).toBe(text);
});
