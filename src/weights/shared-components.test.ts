import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { type Json, type JsonObject, readJsonObject } from "../disk/json.js";
import { defaultModelFolder } from "../pipeline/model-source.js";
import { goldenPath } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openFolder } from "./folder.js";
import { loadTokenizer } from "./tokenizer-files.js";

const scratch = mkdtempSync(join(tmpdir(), "shared-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let base: string;
let other: string;

/** A model, and one beside it that has a UNet and a scheduler of its own and shares the rest. */
beforeEach(() => {
  const models = mkdtempSync(join(scratch, "models-"));
  [base, other] = [join(models, "base"), join(models, "other")];
  cpSync(goldenPath("models/tiny-sd1"), base, { recursive: true });
  cpSync(base, other, { recursive: true });
  for (const role of ["text_encoder", "tokenizer", "vae"]) rmSync(join(other, role), { recursive: true });
  share({
    text_encoder: "../base/text_encoder",
    tokenizer: "../base/tokenizer",
    vae: "../base/vae",
  });
});

function share(shared: Json): void {
  const index: JsonObject = { ...readJsonObject(join(base, "model_index.json")), _shared: shared };
  writeFileSync(join(other, "model_index.json"), JSON.stringify(index));
}

test("components are those of the model beside it, its own are its own", async () => {
  const source = openFolder(other);
  expect(source.vae!.weights.path.startsWith(join(base, "vae"))).toBe(true);
  expect(source.textEncoders[0]!.weights.path.startsWith(join(base, "text_encoder"))).toBe(true);
  expect(source.tokenizers[0]!.folder).toBe(join(base, "tokenizer"));
  expect(source.unet.weights.path.startsWith(join(other, "unet"))).toBe(true);
  const [shared, own] = [await loadTokenizer(other), await loadTokenizer(base)];
  expect(shared.encode("a fox")).toEqual(own.encode("a fox"));
});

test("a model that is not beside it is named", () => {
  rmSync(base, { recursive: true });
  expect(thrown(() => openFolder(other))).toMatchObject({
    code: "FILE_MISSING",
    message: `${other} shares its text_encoder with ${join(base, "text_encoder")}, which is not there`,
    hint: "Put the model base beside it.",
  });
});

test("what is both shared and there is refused", () => {
  mkdirSync(join(other, "vae"));
  expect(thrown(() => openFolder(other))).toMatchObject({
    code: "FILE_FORMAT",
    message: expect.stringContaining(`shares ../base/vae, but ${other} has a vae too`),
  });
});

describe("paths lead to a model beside it and nowhere else", () => {
  const elsewhere = [
    "/etc",
    "../../x/vae",
    "../base/../x",
    "../../vae",
    "vae",
    "../base",
    "../base/a/b",
    "..\\x\\y",
    3,
  ];
  test.each(elsewhere)("%s", (path) => {
    share({ vae: path });
    expect(thrown(() => openFolder(other))).toMatchObject({
      code: "FILE_FORMAT",
      message: expect.stringContaining('_shared "vae" must be a path such as ../model/vae, got'),
    });
  });

  test("and are an object", () => {
    share("../base/vae");
    expect(thrown(() => openFolder(other)).message).toMatch(/expected _shared to be an object of paths$/);
  });
});

test("the inpainting model that comes along shares with the default model", () => {
  const source = openFolder(defaultModelFolder("emoji-diffusion-256-inpaint"));
  const sibling = openFolder(defaultModelFolder("emoji-diffusion-256"));
  expect(source.vae!.weights.path).toBe(sibling.vae!.weights.path);
  expect(source.textEncoders[0]!.weights.path).toBe(sibling.textEncoders[0]!.weights.path);
  expect(source.unet.weights.path).not.toBe(sibling.unet.weights.path);
});
