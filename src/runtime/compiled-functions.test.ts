import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openCompiledFunctions, useCompiledFunctions } from "./compiled-functions.js";

const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const folder = (name: string) => join(scratch, name);
/** Where TensorFlow reads and writes. */
const own = (flags: string) => /directory=(\S+)/.exec(flags)![1]!;

test("what a process has compiled is there for the next, also when both run at once", () => {
  const [first, beside] = [openCompiledFunctions(folder("a"))!, openCompiledFunctions(folder("a"))!];
  expect(own(first.flags)).not.toBe(own(beside.flags));
  writeFileSync(join(own(first.flags), "xla_1.pb"), "one");
  writeFileSync(join(own(beside.flags), "xla_1.pb"), "one");
  writeFileSync(join(own(beside.flags), "xla_2.pb"), "two");
  first.keep();
  beside.keep();
  beside.keep();
  expect(readdirSync(folder("a"))).toHaveLength(2);
  const next = own(openCompiledFunctions(folder("a"))!.flags);
  expect(readdirSync(next).map((name) => readFileSync(join(next, name), "utf8"))).toEqual(["one", "two"]);
});

test("what is cut short or changed is not used, and goes", () => {
  const before = openCompiledFunctions(folder("b"))!;
  for (const name of ["xla_1.pb", "xla_2.pb", "xla_3.pb"])
    writeFileSync(join(own(before.flags), name), `code of ${name}`);
  before.keep();
  const [cut, changed] = readdirSync(folder("b")).map((name) => join(folder("b"), name)) as [string, string];
  truncateSync(cut, 3);
  writeFileSync(changed, "code of xla_2.pc");
  expect(readdirSync(own(openCompiledFunctions(folder("b"))!.flags))).toEqual(["xla_3.pb"]);
  expect(readdirSync(folder("b"))).toHaveLength(1);
});

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
