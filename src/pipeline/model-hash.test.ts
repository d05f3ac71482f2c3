import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DiffusionError, hashWeights } from "../index.js";
import { goldenPath } from "../testing/golden.js";
import { contentsFolder } from "../weights/cache-root.js";

const scratch = mkdtempSync(join(tmpdir(), "hash-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const fresh = () => mkdtempSync(join(scratch, "cache-"));
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

const vae = goldenPath("models/tiny-sd1/vae/diffusion_pytorch_model.safetensors");

test("a file has the hash that sha256sum gives, which is kept until the file changes", async () => {
  const cacheDir = fresh();
  const file = join(fresh(), "vae.safetensors");
  cpSync(vae, file);
  expect(await hashWeights(file, { cacheDir })).toBe(sha256(readFileSync(file)));
  // What is kept is believed: it is not read again.
  const [kept] = readdirSync(contentsFolder(cacheDir));
  expect(readFileSync(join(contentsFolder(cacheDir), kept!), "utf8")).toBe(sha256(readFileSync(file)));
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
  expect(await hashWeights(file, { cacheDir })).toBe(sha256(bytes));
});

test("a folder of a component is its file; of a model, all that it is made of", async () => {
  const cacheDir = fresh();
  expect(await hashWeights(join(vae, ".."), { cacheDir })).toBe(sha256(readFileSync(vae)));
  const model = goldenPath("models/tiny-sd1");
  const parts = [
    vae,
    join(model, "unet/diffusion_pytorch_model.safetensors"),
    join(model, "text_encoder/model.safetensors"),
  ].map((part) => sha256(readFileSync(part)));
  expect(await hashWeights(model, { cacheDir })).toBe(sha256(parts.sort().join("\n")));
});

test("what is no weights is refused; a signal ends the reading", async () => {
  await expect(hashWeights(join(scratch, "nowhere"))).rejects.toThrow(DiffusionError);
  const reason = new Error("enough");
  const other = join(fresh(), "other.safetensors");
  cpSync(vae, other);
  await expect(
    hashWeights(other, { cacheDir: fresh(), signal: AbortSignal.abort(reason) }),
  ).rejects.toThrow();
});
