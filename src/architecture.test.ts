import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL(".", import.meta.url));

/**
 * Which folders of src/ (and files at its top) each of them may import, beside itself. Written from the ground up:
 * what stands lower never imports what stands higher, not even a type. docs/architecture.md draws the same.
 */
const floors: Record<string, readonly string[]> = {
  errors: [],
  abortable: [],
  expectations: [],
  disk: ["errors"],
  latents: ["errors"],
  image: ["errors", "latents"],
  events: ["image", "latents"],
  text: ["errors", "expectations"],
  schedulers: ["errors", "latents"],
  ops: ["errors"],
  nn: ["errors", "ops"],
  models: ["errors", "expectations", "nn", "ops"],
  options: ["errors", "events", "expectations", "image", "latents", "schedulers", "text"],
  weights: ["errors", "disk", "expectations", "image", "latents", "text"],
  hub: ["errors", "disk", "events", "expectations", "weights"],
  adapters: ["errors", "disk", "hub", "latents", "text", "weights"],
  runtime: ["errors", "abortable", "adapters", "disk", "image", "latents", "models", "nn", "ops", "weights"],
  generation: [
    ...["errors", "events", "adapters", "hub", "image", "latents", "models", "options", "runtime"],
    ...["schedulers", "text", "weights"],
  ],
  pipeline: [
    ...["errors", "abortable", "events", "expectations", "adapters", "disk", "generation", "hub", "image"],
    ...["latents", "models", "options", "runtime", "schedulers", "text", "weights"],
  ],
  index: [
    ...["errors", "events", "adapters", "generation", "image", "latents", "models", "options", "pipeline"],
    ...["runtime", "schedulers", "text", "weights"],
    "ops",
  ],
  server: ["errors", "abortable", "events", "expectations", "disk", "image", "index", "options"],
  page: ["options", "server"],
  cli: [
    ...["errors", "disk", "hub", "image", "index", "latents", "options", "pipeline", "runtime", "schedulers"],
    ...["server", "weights"],
  ],
};

/** The rooms of the server, likewise; files at its top put them together. */
const serverRooms: Record<string, readonly string[]> = {
  requests: [],
  foreign: ["requests"],
  storage: ["requests"],
  queue: ["requests"],
  jobs: ["foreign", "queue", "requests", "storage"],
  http: ["foreign", "jobs", "queue", "requests", "storage"],
};

/** Folders without I/O, clocks or chance; reading an image from a path is the one exception. */
const pure = ["schedulers", "latents", "text", "image", "ops", "nn", "models", "options"];

interface Import {
  readonly from: string;
  readonly to: string;
}

const sources = (readdirSync(src, { recursive: true }) as string[]).filter(
  (file) => /\.tsx?$/.test(file) && !/\.test\.tsx?$/.test(file) && !file.startsWith("testing/"),
);
const read = (file: string): string => readFileSync(join(src, file), "utf8");
const topOf = (file: string): string => file.replace(/\.tsx?$/, "").split("/")[0]!;

/** Everything that a file names in an import, a re-export or import(): types, too. */
const namedBy = (file: string): string[] =>
  [...read(file).matchAll(/(?:\bfrom|\bimport\(|^import)\s*"([^"]+)"/gm)].map(([, target]) => target!);

/** The imports among our own sources. */
const imports: Import[] = sources.flatMap((from) =>
  namedBy(from).flatMap((name) => {
    if (!name.startsWith(".")) return [];
    const target = relative(src, resolve(dirname(join(src, from)), name));
    const to = [target.replace(/\.js$/, ".ts"), target.replace(/\.js$/, ".tsx")].find((one) =>
      sources.includes(one),
    );
    return to ? [{ from, to }] : [];
  }),
);

test("every folder, and every file at the top, has a row among the floors", () => {
  const tops = new Set(sources.map(topOf));
  expect([...tops].sort()).toEqual(Object.keys(floors).sort());
});

test("no folder imports one that stands above it", () => {
  const order = Object.keys(floors);
  for (const [folder, below] of Object.entries(floors))
    for (const other of below)
      expect(order.indexOf(other), `${folder} -> ${other}`).toBeLessThan(order.indexOf(folder));
  const wrong = imports.filter(({ from, to }) => {
    const [folder, other] = [topOf(from), topOf(to)];
    return folder !== other && !floors[folder]?.includes(other);
  });
  expect(wrong).toEqual([]);
});

test("the rooms of the server import each other in one direction", () => {
  const roomOf = (file: string) => (/^server\/([^/]+)\//.exec(file) ?? [])[1];
  const wrong = imports.filter(({ from, to }) => {
    const [room, other] = [roomOf(from), roomOf(to)];
    return room && other && room !== other && !serverRooms[room]?.includes(other);
  });
  expect(wrong).toEqual([]);
});

test("no file imports itself by way of others, not even for a type", () => {
  const targets = new Map(sources.map((file) => [file, imports.filter(({ from }) => from === file)]));
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const { to } of targets.get(file)!) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
  expect(circles).toEqual([]);
});

test("the page takes only types from the server", () => {
  for (const file of sources.filter((one) => topOf(one) === "page"))
    for (const [line] of read(file).matchAll(/^import [^;]*?from "[^"]*\/server\/[^"]*"/gms))
      expect(line, file).toMatch(/^import type/);
});

test("tfjs is loaded in runtime/native.ts only; elsewhere it is a type", () => {
  for (const file of sources)
    for (const [line] of read(file).matchAll(/^import .*"@tensorflow\/.*$/gm))
      expect(line, file).toMatch(/^import type/);
  const loading = sources.filter((file) => /require\("@tensorflow\/tfjs-node/.test(read(file)));
  expect(loading).toEqual(["runtime/native.ts"]);
});

test("the pure folders do no I/O, and ask neither clock nor chance", () => {
  for (const file of sources.filter((one) => pure.includes(topOf(one)))) {
    if (file !== "image/read.ts")
      expect(
        namedBy(file).filter((name) => /^node:(fs|net|http|child)/.test(name)),
        file,
      ).toEqual([]);
    expect(read(file), file).not.toMatch(/Math\.random\(|Date\.now\(|performance\.now\(|new Date\(\)/);
  }
});

test("no barrel, no default export, no file for leftovers", () => {
  for (const file of sources) {
    expect(file).not.toMatch(/(^|\/)(utils|helpers|types)\.tsx?$/);
    if (file !== "index.ts") expect(read(file), file).not.toMatch(/^export \* from/m);
    expect(read(file), file).not.toMatch(/^export default/m);
  }
});

test("what is exported is used by another file, and not by tests alone while nothing else calls it", () => {
  const all = ["src", "bench", "scripts", "examples"].flatMap((folder) =>
    (readdirSync(join(src, "..", folder), { recursive: true }) as string[])
      .filter((file) => /\.(tsx?|mjs)$/.test(file) && !file.includes("node_modules"))
      .map((file) => join(src, "..", folder, file)),
  );
  const words = all.map((path) => {
    const text = readFileSync(path, "utf8");
    return {
      path,
      text,
      isTest: /\.test\.|\/fixture\.ts$/.test(path),
      named: new Set(text.match(/[\w$]+/g)),
    };
  });
  const dead = sources.flatMap((file) => {
    if (file.endsWith("/fixture.ts")) return [];
    const own = words.find(({ path }) => path === join(src, file))!;
    const exported = own.text.matchAll(/^export (?:async )?(?:const|function\*?|class) (\w+)/gm);
    return [...exported].flatMap(([, name]) => {
      const users = words.filter(({ path, named }) => path !== own.path && named.has(name!));
      const calls = own.text.match(new RegExp(`\\b${name}\\b`, "g"))!.length - 1;
      const isUsed = users.some(({ isTest }) => !isTest) || (users.length > 0 && calls > 0);
      return isUsed ? [] : [`${file}: ${name}`];
    });
  });
  expect(dead).toEqual([]);
});

test("no folder holds more than 30 files, and no file more than 350 lines, data and tests apart", () => {
  const counts = new Map<string, number>();
  for (const file of sources) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  expect([...counts].filter(([, count]) => count > 30)).toEqual([]);
  const long = sources.map((file) => ({ file, lines: read(file).split("\n").length - 1 }));
  expect(long.filter(({ lines }) => lines > 350)).toEqual([]);
});
