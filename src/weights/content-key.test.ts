import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { goldenPath } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { contentsFolder } from "./cache-root.js";
import { openCheckpoint } from "./checkpoint.js";
import { contentKey, contentOf } from "./content-key.js";

const scratch = mkdtempSync(join(tmpdir(), "content-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const fresh = (): string => mkdtempSync(join(scratch, "root-"));

const original = goldenPath("models/tiny-sd1/vae/diffusion_pytorch_model.safetensors");

function copy(name: string, time: number): string {
  const path = join(fresh(), name);
  copyFileSync(original, path);
  utimesSync(path, time, time);
  return path;
}

function keyOf(root: string, path: string): string {
  const checkpoint = openCheckpoint(path);
  checkpoint.close();
  return contentKey(root, checkpoint);
}

test("a copy elsewhere, of another time, has the same key; it is no key of a place", () => {
  const root = fresh();
  const [one, two] = [copy("a.safetensors", 1000), copy("b.safetensors", 2000)];
  expect(keyOf(root, one)).toBe(keyOf(fresh(), two));
  const [first, second] = [openCheckpoint(one), openCheckpoint(two)];
  expect(first.id).not.toBe(second.id);
  for (const checkpoint of [first, second]) checkpoint.close();
});

test("one value that no sample sees makes another key", () => {
  const path = copy("a.safetensors", 1000);
  const before = keyOf(fresh(), path);
  const file = openSync(path, "r+");
  writeSync(file, Uint8Array.of(1, 2, 3), 0, 3, statSync(path).size - 3);
  utimesSync(path, 2000, 2000);
  expect(keyOf(fresh(), path)).not.toBe(before);
});

test("what the tensors are used for is part of it", () => {
  const root = fresh();
  const half = openCheckpoint(
    original,
    (stored) => new Map([...stored.keys()].map((from) => [from, { from }])),
  );
  half.close();
  expect(contentKey(root, half)).not.toBe(keyOf(root, original));
});

test("a file is read whole once; the next process finds its SHA-256 in the cache", async () => {
  const root = fresh();
  const path = copy("a.safetensors", 3000);
  const checkpoint = openCheckpoint(path);
  checkpoint.close();
  const [file] = checkpoint.stored!.files;
  const content = contentOf(root, file!);
  const [name] = readdirSync(contentsFolder(root));
  const memo = join(contentsFolder(root), name!);
  expect(readFileSync(memo, "utf8")).toBe(content);
  const inAnotherProcess = async () => {
    vi.resetModules();
    return (await import("./content-key.js")).contentOf(root, file!);
  };
  writeFileSync(memo, "f".repeat(64)); // another answer: who returns it has not read the file
  expect(await inAnotherProcess()).toBe("f".repeat(64));
  writeFileSync(memo, "damaged");
  expect(await inAnotherProcess()).toBe(content);
  expect(readFileSync(memo, "utf8")).toBe(content);
});

test("a cache that cannot be written to is no obstacle", () => {
  const file = join(fresh(), "file");
  writeFileSync(file, "");
  expect(keyOf(file, copy("a.safetensors", 4000))).toBe(keyOf(fresh(), original));
});

test("blobs of the hub are named by their content", () => {
  const folder = fresh();
  const blob = join(folder, "blobs", "ab".repeat(32));
  mkdirSync(join(folder, "blobs"));
  copyFileSync(original, blob);
  symlinkSync(blob, join(folder, "model.safetensors"));
  const checkpoint = openCheckpoint(join(folder, "model.safetensors"));
  checkpoint.close();
  expect(contentOf(fresh(), checkpoint.stored!.files[0]!)).toBe("ab".repeat(32));
});

test("a file that changes meanwhile is refused", () => {
  const path = copy("a.safetensors", 5000);
  const checkpoint = openCheckpoint(path);
  checkpoint.close();
  truncateSync(path, 100);
  expect(thrown(() => contentKey(fresh(), checkpoint))).toMatchObject({
    code: "FILE_FORMAT",
    message: `${path} changed while it was read`,
  });
});
