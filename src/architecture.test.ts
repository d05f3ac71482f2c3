import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL(".", import.meta.url));

/** Which folders of src/ (or files at its top) a folder may import, beside itself; DESIGN.md draws the same. */
const allowed: Record<string, readonly string[]> = {
  errors: [],
  events: ["image", "latents"],
  expectations: [],
  ops: ["errors"],
  nn: ["errors", "ops"],
  models: ["errors", "expectations", "nn", "ops"],
  schedulers: ["errors", "latents"],
  latents: ["errors", "image"],
  image: ["errors", "latents"],
  text: ["errors", "expectations"],
  weights: ["errors", "events", "expectations", "image", "latents", "text"],
  runtime: ["errors", "latents", "models", "nn", "ops", "weights", "image"],
};

/** Folders without I/O, clocks or chance; reading an image from a path is the one exception. */
const pure = ["schedulers", "latents", "text", "image", "ops", "nn", "models"];

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly target: string;
}

const sources = (readdirSync(src, { recursive: true }) as string[]).filter(
  (file) => /\.tsx?$/.test(file) && !/\.test\.tsx?$/.test(file) && !file.startsWith("testing/"),
);
const read = (file: string): string => readFileSync(join(src, file), "utf8");
const folderOf = (file: string): string => file.replace(/\.tsx?$/, "").split("/")[0]!;

const imports: Import[] = sources.flatMap((file) =>
  [...read(file).matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map(([, target]) => ({
    file,
    folder: folderOf(file),
    target: target!.startsWith(".") ? relative(src, resolve(dirname(join(src, file)), target!)) : target!,
  })),
);

test("folders import only what stands below them", () => {
  const wrong = imports.filter(({ folder, target, file }) => {
    const may = allowed[folder];
    if (!may || !/^[a-z-]+(\/|\.js$)/.test(target) || target.startsWith("@") || !isOurs(target)) return false;
    const to = folderOf(target.replace(/\.js$/, ".ts"));
    return to !== folder && !may.includes(to) && file !== "index.ts";
  });
  expect(wrong).toEqual([]);
});

const isOurs = (target: string): boolean =>
  sources.includes(target.replace(/\.js$/, ".ts")) || sources.includes(target.replace(/\.js$/, ".tsx"));

test("tfjs is loaded in runtime/native.ts alone; elsewhere it is a type", () => {
  for (const file of sources)
    for (const [line] of read(file).matchAll(/^import .*"@tensorflow\/.*$/gm))
      expect(line, file).toMatch(/^import type/);
  const loading = sources.filter((file) => /require\("@tensorflow\/tfjs-node/.test(read(file)));
  expect(loading).toEqual(["runtime/native.ts"]);
});

test("the pure folders do no I/O, and ask neither clock nor chance", () => {
  const io = imports.filter(
    ({ folder, target, file }) =>
      pure.includes(folder) && /^node:(fs|net|http|child)/.test(target) && file !== "image/read.ts",
  );
  expect(io).toEqual([]);
  for (const file of sources.filter((f) => pure.includes(folderOf(f))))
    expect(read(file), file).not.toMatch(/Math\.random\(|Date\.now\(|performance\.now\(|new Date\(\)/);
});

test("server, command line, examples and scripts use the public API", () => {
  const wrong = imports.filter(
    ({ folder, target }) =>
      folder === "server" &&
      isOurs(target) &&
      !target.startsWith("server/") &&
      !["index.js", "errors.js", "events.js", "expectations.js"].includes(target),
  );
  expect(wrong).toEqual([]);
});

test("no barrel, no default export, no folder for leftovers", () => {
  for (const file of sources) {
    expect(file).not.toMatch(/(^|\/)(utils|helpers|types)\.tsx?$/);
    if (file !== "index.ts") expect(read(file), file).not.toMatch(/^export \* from/m);
    expect(read(file), file).not.toMatch(/^export default/m);
  }
});
