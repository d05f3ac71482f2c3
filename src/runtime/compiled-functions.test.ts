import {
  lstatSync,
  lutimesSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openCompiledFunctions, useCompiledFunctions } from "./compiled-functions.js";

const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const folder = (name: string) => join(scratch, name);
/** Opens it as a process does that is about to run a network with compiled functions. */
function opened(name: string) {
  const compiled = openCompiledFunctions(folder(name))!;
  compiled.layOut();
  return compiled;
}

/** Where TensorFlow reads and writes. */
const own = (flags: string) => /directory=(\S+)/.exec(flags)![1]!;

test("what a process has compiled is there for the next, also when both run at once", () => {
  const [first, beside] = [opened("a"), opened("a")];
  expect(own(first.flags)).not.toBe(own(beside.flags));
  writeFileSync(join(own(first.flags), "xla_1.pb"), "one");
  writeFileSync(join(own(beside.flags), "xla_1.pb"), "one");
  writeFileSync(join(own(beside.flags), "xla_2.pb"), "two");
  first.keep();
  beside.keep();
  beside.keep();
  expect(readdirSync(folder("a"))).toHaveLength(2);
  const next = own(opened("a").flags);
  expect(readdirSync(next).map((name) => readFileSync(join(next, name), "utf8"))).toEqual(["one", "two"]);
});

test("what is cut short or changed is not used, and goes", () => {
  const before = opened("b");
  for (const name of ["xla_1.pb", "xla_2.pb", "xla_3.pb"])
    writeFileSync(join(own(before.flags), name), `code of ${name}`);
  before.keep();
  const [cut, changed] = readdirSync(folder("b")).map((name) => join(folder("b"), name)) as [string, string];
  truncateSync(cut, 3);
  writeFileSync(changed, "code of xla_2.pc");
  expect(readdirSync(own(opened("b").flags))).toEqual(["xla_3.pb"]);
  expect(readdirSync(folder("b"))).toHaveLength(1);
});

test("what is kept is not copied, and not looked at before a network needs it", () => {
  const before = opened("c");
  writeFileSync(join(own(before.flags), "xla_1.pb"), "one");
  before.keep();
  const next = openCompiledFunctions(folder("c"))!;
  expect(readdirSync(own(next.flags))).toEqual([]);
  // Compiled here before it was laid out: that stays.
  writeFileSync(join(own(next.flags), "xla_1.pb"), "mine");
  next.layOut();
  expect(readFileSync(join(own(next.flags), "xla_1.pb"), "utf8")).toBe("mine");
  expect(lstatSync(join(own(opened("c").flags), "xla_1.pb")).isSymbolicLink()).toBe(true);
});

test("a function that TensorFlow has read counts as used then, others do not", () => {
  const before = opened("d");
  for (const name of ["xla_1.pb", "xla_2.pb"]) writeFileSync(join(own(before.flags), name), name);
  before.keep();
  const used = () => readdirSync(folder("d")).map((name) => statSync(join(folder("d"), name)).mtimeMs > 1e6);
  for (const name of readdirSync(folder("d"))) utimesSync(join(folder("d"), name), 1, 1);
  const next = opened("d");
  next.keep();
  expect(used()).toEqual([false, false]);
  readFileSync(join(own(next.flags), "xla_2.pb"));
  next.keep();
  expect(used()).toEqual([false, notesUse()]);
});

/** Whether the system notes when a link is followed: not where the disk is mounted with noatime. */
function notesUse(): boolean {
  const [file, link] = [folder("target"), folder("link")];
  writeFileSync(file, "");
  symlinkSync(file, link);
  lutimesSync(link, 0, 0);
  readFileSync(link);
  return lstatSync(link).atimeMs > 0;
}

test("where nothing can be kept, nothing is, without a word", () => {
  writeFileSync(folder("file"), "");
  const compiled = openCompiledFunctions(join(folder("file"), "below"))!;
  writeFileSync(join(own(compiled.flags), "xla_1.pb"), "one");
  compiled.keep();
  expect(readdirSync(own(compiled.flags))).toEqual(["xla_1.pb"]);
});

test("TF_XLA_FLAGS of the user is kept", () => {
  const env: NodeJS.ProcessEnv = {
    TFJS_DIFFUSION_CACHE: folder("cache"),
    TF_XLA_FLAGS: "--tf_xla_persistent_cache_directory=/mine",
  };
  useCompiledFunctions(env);
  expect(env.TF_XLA_FLAGS).toBe("--tf_xla_persistent_cache_directory=/mine");
  env.TF_XLA_FLAGS = "--tf_xla_clustering_debug";
  useCompiledFunctions(env);
  expect(env.TF_XLA_FLAGS).toMatch(/^--tf_xla_clustering_debug --tf_xla_persistent_cache_directory=\S+ /);
});
