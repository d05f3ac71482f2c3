import { fork } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { thrown } from "../testing/thrown.js";
import { openWeightCache } from "./cache.js";
import { cleanModels, isOrphan, listGraphs, listModels, trimCache } from "./cache-entries.js";
import { cacheLimit, cacheRoot } from "./cache-root.js";

const root = mkdtempSync(join(tmpdir(), "cache-"));
afterAll(() => rmSync(root, { recursive: true }));
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const fresh = () => mkdtempSync(join(root, "root-"));

const key = { id: "0123", precision: "fp32", label: "some/model unet" };
const bytes = (length: number, seed = 0) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);
const never = (): Uint8Array => {
  throw new Error("made again");
};

describe("files", () => {
  test("are made once, found by later openings, and hold what was made", () => {
    const folder = fresh();
    const path = openWeightCache(folder, key).file("conv.weight", "t", () => bytes(20_000));
    expect(isAbsolute(path)).toBe(true);
    expect(readFileSync(path)).toEqual(Buffer.from(bytes(20_000)));
    expect(openWeightCache(folder, key).file("conv.weight", "t", never)).toBe(path);
    const other = openWeightCache(folder, { ...key, precision: "fp16" });
    expect(other.file("conv.weight", "t", () => bytes(3))).not.toBe(path);
    expect(dirname(other.file("conv.weight", "t0-2", () => bytes(2)))).toBe(other.folder);
  });

  test.each<[string, (path: string) => void]>([
    ["cut", (path) => truncateSync(path, 10_000)],
    ["changed at its end", (path) => writeFileSync(path, Buffer.concat([bytes(19_999), Buffer.of(255)]))],
    ["empty", (path) => truncateSync(path, 0)],
    ["gone", (path) => rmSync(path)],
  ])("that are %s are made again", (_, spoil) => {
    const folder = fresh();
    const path = openWeightCache(folder, key).file("a", "s", () => bytes(20_000));
    spoil(path);
    expect(openWeightCache(folder, key).file("a", "s", () => bytes(20_000))).toBe(path);
    expect(readFileSync(path)).toEqual(Buffer.from(bytes(20_000)));
  });

  test("of any name stay in the folder and apart from each other", () => {
    const cache = openWeightCache(fresh(), key);
    const names = [
      "../../x",
      "a/b",
      "a_b",
      "a\0b",
      "a".repeat(300),
      "a".repeat(301),
      "__proto__",
      "é",
      "",
      ".",
    ];
    const paths = names.map((name, i) => cache.file(name, "s", () => bytes(5, i)));
    expect(new Set(paths).size).toBe(names.length);
    paths.forEach((path, i) => {
      expect(dirname(path)).toBe(cache.folder);
      expect(basename(path).length).toBeLessThan(255);
      expect(readFileSync(path)).toEqual(Buffer.from(bytes(5, i)));
    });
  });

  test("of zero length and of one piece are checked too", () => {
    const folder = fresh();
    for (const length of [0, 1, 4095, 4096, 4097, 8193])
      openWeightCache(folder, key).file(`n${length}`, "s", () => bytes(length));
    for (const length of [0, 1, 4095, 4096, 4097, 8193])
      openWeightCache(folder, key).file(`n${length}`, "s", never);
  });

  test("half-written ones do not appear, and a full disk is a DISK error", () => {
    const cache = openWeightCache(fresh(), key);
    const full = () => {
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    };
    // A write that fails in the kernel is in safetensors.test.ts; here making the bytes fails.
    expect(() => cache.file("a", "s", full)).toThrow();
    expect(readdirSync(cache.folder)).toEqual(["model.json"]);
    writeFileSync(join(root, "file"), "");
    expect(thrown(() => openWeightCache(join(root, "file"), key)).code).toBe("DISK");
  });

  test("what a killed process left is removed after a day", () => {
    const folder = fresh();
    const cache = openWeightCache(folder, key);
    for (const [name, age] of [
      ["old", 2],
      ["new", 0],
    ] as const) {
      const path = join(cache.folder, `.${name}.1.2.tmp`);
      writeFileSync(path, "x");
      const time = new Date(Date.now() - age * 24 * 3600 * 1000);
      utimesSync(path, time, time);
    }
    openWeightCache(folder, key);
    expect(readdirSync(cache.folder).sort()).toEqual([".new.1.2.tmp", "model.json"]);
  });
});

test("several processes fill one cache at once", async () => {
  const folder = fresh();
  const script = join(root, "fill.ts");
  writeFileSync(
    script,
    `import { openWeightCache } from ${JSON.stringify(here("cache.ts"))};
     const cache = openWeightCache(${JSON.stringify(folder)}, ${JSON.stringify(key)});
     for (let i = 0; i < 40; i++)
       cache.file("w" + i, "s", () => Uint8Array.from({ length: 30000 }, (_, j) => (j * 31 + i) & 255));`,
  );
  const codes = await Promise.all(
    [1, 2].map(
      () =>
        new Promise((done) =>
          fork(script, { execArgv: ["--import", "tsx"], cwd: here(".") }).on("exit", done),
        ),
    ),
  );
  expect(codes).toEqual([0, 0]);
  const cache = openWeightCache(folder, key);
  for (let i = 0; i < 40; i++)
    expect(readFileSync(cache.file(`w${i}`, "s", never))).toEqual(Buffer.from(bytes(30_000, i)));
  expect(readdirSync(cache.folder).length).toBe(41);
}, 60_000);

describe("list and clean", () => {
  test("models with size and last use, the latest first; others are left alone", () => {
    const folder = fresh();
    for (const [id, day] of [
      ["a", 1],
      ["b", 3],
      ["c", 2],
    ] as const) {
      const cache = openWeightCache(folder, { id, precision: "fp16", label: `model ${id}` });
      cache.file("w", "s", () => bytes(1000));
      utimesSync(join(cache.folder, "model.json"), day, day);
    }
    mkdirSync(join(folder, "weights/not-ours"));
    writeFileSync(join(folder, "weights/not-ours/model.json"), "{}");
    const models = listModels(folder);
    expect(models.map(({ label }) => label)).toEqual(["model b", "model c", "model a"]);
    expect(models[0]).toMatchObject({ precision: "fp16", lastUsed: new Date(3000) });
    expect(models[0]!.bytes).toBeGreaterThanOrEqual(1000);

    expect(cleanModels(folder, ({ label }) => label === "model c").length).toBe(1);
    expect(listModels(folder).map(({ label }) => label)).toEqual(["model b", "model a"]);
    cleanModels(folder);
    expect(readdirSync(join(folder, "weights"))).toEqual(["not-ours"]);
    expect(listModels(join(folder, "none"))).toEqual([]);
  });

  test("opening marks a model as used", () => {
    const folder = fresh();
    const cache = openWeightCache(folder, key);
    utimesSync(join(cache.folder, "model.json"), 1, 1);
    openWeightCache(folder, key);
    expect(listModels(folder)[0]!.lastUsed.getTime()).toBeGreaterThan(1e12);
  });
});

test("the root: option, environment, XDG, home", () => {
  const env = { TFJS_DIFFUSION_CACHE: "/own", XDG_CACHE_HOME: "/xdg" };
  expect(cacheRoot("/given", env)).toBe("/given");
  expect(cacheRoot(undefined, env)).toBe("/own");
  expect(cacheRoot(undefined, { XDG_CACHE_HOME: "/xdg" })).toBe("/xdg/tfjs-diffusion");
  expect(cacheRoot(undefined, { XDG_CACHE_HOME: "relative" })).toBe(join(homedir(), ".cache/tfjs-diffusion"));
  expect(cacheRoot("relative", {})).toBe(resolve("relative"));
});

describe("the bound of the cache", () => {
  const hour = 3600;
  const now = 1_000_000;
  /** Entries of 1000 bytes each, the first used longest ago: hours before now. */
  function filled(hours: readonly number[]): string {
    const folder = fresh();
    for (const [i, ago] of hours.entries()) {
      const cache = openWeightCache(folder, { id: String(i), precision: "fp16", label: `model ${ago}` });
      writeFileSync(join(cache.folder, "x.bin"), bytes(1000));
      utimesSync(join(cache.folder, "model.json"), now - ago * hour, now - ago * hour);
    }
    return folder;
  }
  const left = (folder: string) => listModels(folder).map(({ label }) => label);

  test("removes what was used longest ago, and nothing of the last hour", () => {
    const folder = filled([50, 3, 0.5, 20]);
    trimCache(folder, 5000, now * 1000);
    expect(left(folder)).toHaveLength(4);
    trimCache(folder, 2500, now * 1000);
    expect(left(folder)).toEqual(["model 0.5", "model 3"]);
    trimCache(folder, 0, now * 1000);
    expect(left(folder)).toEqual(["model 0.5"]);
  });

  test("counts graphs too", () => {
    const folder = filled([3]);
    for (const [name, ago] of [
      ["a".repeat(24), 9],
      ["b".repeat(24), 2],
    ] as const) {
      const file = join(folder, "graphs", name, "saved_model.pb");
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes(1000));
      utimesSync(file, now - ago * hour, now - ago * hour);
    }
    const files = ["c.json", `${"d".repeat(24)}.json`, "e".repeat(24)]; // what stands beside graphs
    for (const name of files) writeFileSync(join(folder, "graphs", name), "{}");
    trimCache(folder, 2500, now * 1000);
    expect(readdirSync(join(folder, "graphs")).sort()).toEqual(["b".repeat(24), ...files].sort());
    expect(left(folder)).toEqual(["model 3"]);
  });

  test("counts compiled functions too", () => {
    const folder = filled([3, 1.5]);
    for (const [name, ago] of [
      ["old", 9],
      ["used", 2],
    ] as const) {
      const file = join(folder, "compiled", "this-machine", `xla_${name}.pb.${"a".repeat(24)}`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes(1000));
      utimesSync(file, now - ago * hour, now - ago * hour);
    }
    const compiled = () => readdirSync(join(folder, "compiled", "this-machine"));
    trimCache(folder, 5000, now * 1000);
    expect(compiled()).toHaveLength(2);
    trimCache(folder, 2600, now * 1000);
    expect(compiled()).toEqual([`xla_used.pb.${"a".repeat(24)}`]);
    expect(left(folder)).toEqual(["model 1.5"]);
  });

  test("is said in gigabytes, or none", () => {
    const limit = (text?: string) =>
      cacheLimit(text === undefined ? {} : { TFJS_DIFFUSION_CACHE_LIMIT: text });
    expect([limit(), limit("2.5"), limit("0"), limit("none")]).toEqual([30e9, 2.5e9, 0, Infinity]);
    for (const text of ["much", "-1", "10GB"])
      expect(thrown(() => limit(text))).toMatchObject({
        code: "BAD_OPTION",
        message: expect.stringContaining(`TFJS_DIFFUSION_CACHE_LIMIT is "${text}"`),
      });
  });

  test("is seen to whenever another network is converted", () => {
    const folder = filled([200]);
    process.env.TFJS_DIFFUSION_CACHE_LIMIT = "0";
    try {
      openWeightCache(folder, key);
    } finally {
      delete process.env.TFJS_DIFFUSION_CACHE_LIMIT;
    }
    expect(left(folder)).toEqual([key.label]);
  });
});

describe("whose weights they are", () => {
  test("the places of their files are kept, the latest first", () => {
    const folder = fresh();
    for (const place of ["/a/x", "/b/x", "/b/x"]) openWeightCache(folder, { ...key, source: [place] });
    expect(listModels(folder)[0]!.sources).toEqual([["/b/x"], ["/a/x"]]);
    for (let i = 0; i < 20; i++) openWeightCache(folder, { ...key, source: [`/${i}`] });
    expect(listModels(folder)[0]!.sources).toHaveLength(8);
  });

  test("they are orphans when no place has all its files any more", () => {
    const folder = fresh();
    const [one, two] = [join(folder, "1"), join(folder, "2")];
    for (const path of [one, two]) writeFileSync(path, "");
    const is = (...sources: string[][]) => isOrphan({ label: "", precision: "", sources });
    expect([is(), is([one, two]), is([one, "/none"]), is(["/none"], [two])]).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });
});

test("a file where folders are meant to be is passed over", () => {
  const folder = fresh();
  mkdirSync(join(folder, "graphs"), { recursive: true });
  writeFileSync(join(folder, "graphs", "0123.json"), "{}"); // as older versions wrote
  expect(listGraphs(folder)).toEqual([]);
});
