/**
 * Packs the package and installs it in projects of their own, as people do: with each package manager, from ESM, CommonJS
 * and TypeScript, beside a bundler and swallowed by one. Every way must draw the same picture, or say what to do.
 *
 *   node scripts/check-install.mjs [tarball]     all of it
 *   --only "yarn 1"                              one package manager
 *
 * The cache of TensorFlow's library is the user's own, so that it is not downloaded for each project.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const MOST_BYTES = 120e6;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values, positionals } = parseArgs({
  options: { only: { type: "string" } },
  allowPositionals: true,
});
const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-install-"));
const tools = join(scratch, "tools");
const project = join(scratch, "project");
const tool = (...path) => join(tools, "node_modules", ...path);
const failures = [];

const toolPackages = [
  "npm10@npm:npm@10.9.9",
  "npm11@npm:npm@11.19.1",
  "pnpm@10.34.9",
  "yarn@1.22.22",
  "esbuild@0.28.2",
  "webpack@5.113.0",
];

/** `add` is how the package is added; `byHand` is typed by hand where the manager runs no scripts. */
const managers = [
  { name: "npm 10", add: [tool("npm10", "bin", "npm-cli.js"), "install"] },
  { name: "npm 11", add: [tool("npm11", "bin", "npm-cli.js"), "install"] },
  {
    name: "pnpm, our script allowed",
    // Of a tarball pnpm wants the path; of a package from the registry the name will do.
    allowed: (tarball) => `tfjs-diffusion@file:${relative(project, tarball)}`,
    add: [tool("pnpm", "bin", "pnpm.cjs"), "add"],
  },
  {
    name: "pnpm, all scripts allowed",
    add: [tool("pnpm", "bin", "pnpm.cjs"), "add", "--config.dangerously-allow-all-builds=true"],
  },
  {
    name: "pnpm, no scripts",
    add: [tool("pnpm", "bin", "pnpm.cjs"), "add"],
    byHand: ["node_modules/tfjs-diffusion/dist/cli/main.js", "setup"],
  },
  { name: "yarn 1", add: [tool("yarn", "bin", "yarn.js"), "add", "--non-interactive"] },
];

const call = `generate({ prompt: "a dog", seed: 1, steps: 1, width: 64, height: 64 })`;
const print = `({ images }) => console.log(require("node:crypto").createHash("sha256").update(images[0].data).digest("hex"))`;
const tell = "(error) => { console.log(error.code, error.message, error.hint); process.exitCode = 1; }";
const programs = {
  "draw.mjs": `import { createRequire } from "node:module";
import { generate } from "tfjs-diffusion";
const require = createRequire(import.meta.url);
${call}.then(${print}, ${tell}).finally(() => process.exit());`,
  "draw.cjs": `const { generate } = require("tfjs-diffusion");
${call}.then(${print}, ${tell}).finally(() => process.exit());`,
  "typed.ts": `import { encodePng, generate, StableDiffusion, type ProgressEvent } from "tfjs-diffusion";
export async function draw(onProgress: (event: ProgressEvent) => void): Promise<Uint8Array> {
  const { images } = await generate({ prompt: "a dog", steps: 1, onProgress });
  const model = await StableDiffusion.load("emoji-diffusion-256");
  const { last } = await model.textEncoder.run({ ids: [[1]] });
  await model.dispose();
  return last.shape.length > 0 ? encodePng(images[0]!) : new Uint8Array();
}`,
};

const usages = [
  ["CommonJS", () => runs("draw.cjs")],
  ["TypeScript, strict, node16", () => compiles("node16", "node16")],
  ["TypeScript, strict, bundler", () => compiles("esnext", "bundler")],
  ["esbuild, external, ESM", () => runs(esbuild("mjs", "--external:tfjs-diffusion"))],
  ["esbuild, external, CommonJS", () => runs(esbuild("cjs", "--external:tfjs-diffusion"))],
  ["esbuild, bundled, ESM", () => refuses(esbuild("mjs"))],
  ["esbuild, bundled, CommonJS", () => refuses(esbuild("cjs"))],
  ["webpack, bundled", () => refuses(webpack())],
  ["webpack, external", () => runs(webpack({ "tfjs-diffusion": "commonjs tfjs-diffusion" }))],
];

let picture;

function main() {
  const tarball = positionals[0] ? resolve(positionals[0]) : pack();
  check("the tarball is under 120 MB", () => {
    const { size } = statSync(tarball);
    if (size > MOST_BYTES) throw new Error(`${size} bytes`);
    return `${(size / 1e6).toFixed(1)} MB`;
  });
  mkdirSync(tools);
  run(scratch, "npm", ["install", "--prefix", tools, "--silent", "--no-audit", "--no-fund", ...toolPackages]);
  for (const manager of managers.filter(({ name }) => !values.only || name === values.only)) {
    check(manager.name, () => installed(manager, tarball));
    if (manager.name === "npm 11") for (const [name, use] of usages) check(name, use);
    rmSync(project, { recursive: true, force: true });
  }
}

function pack() {
  run(root, "npm", ["pack", "--silent", "--pack-destination", scratch]);
  return join(
    scratch,
    readdirSync(scratch).find((name) => name.endsWith(".tgz")),
  );
}

/** A fresh project, the package in it, and its picture, which is that of all others. */
function installed({ add, byHand, allowed }, tarball) {
  mkdirSync(project);
  const pnpm = allowed && { pnpm: { onlyBuiltDependencies: [allowed(tarball)] } };
  const manifest = { name: "project", version: "1.0.0", license: "MIT", ...pnpm };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(project, name), text);
  const isYarn = add[0].endsWith("yarn.js");
  run(project, process.execPath, [...add, isYarn ? `file:${tarball}` : tarball]);
  if (byHand) run(project, process.execPath, byHand);
  return runs("draw.mjs");
}

/** The program prints the hash of its picture, which must be the one of the first. */
function runs(program) {
  const printed = run(project, process.execPath, [program]).stdout.trim();
  if (!/^[0-9a-f]{64}$/.test(printed)) throw new Error(`it printed ${printed}`);
  picture ??= printed;
  if (printed !== picture) throw new Error(`another picture: ${printed}, expected ${picture}`);
  return "the picture";
}

/** The bundle ends with a message that has the line for each bundler. */
function refuses(program) {
  const { status, stdout, stderr } = spawn(project, process.execPath, [program]);
  const said = stdout + stderr;
  const lines = ["--external:tfjs-diffusion", "externals:", "serverExternalPackages"];
  if (status === 0 || !lines.every((line) => said.includes(line))) throw new Error(`it said ${said}`);
  return "says what to mark as external";
}

function compiles(module, moduleResolution) {
  const compilerOptions = {
    ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, types: [] },
    ...{ target: "es2022", lib: ["es2022", "dom"], module, moduleResolution },
  };
  const config = join(project, "tsconfig.json");
  writeFileSync(config, JSON.stringify({ compilerOptions, files: ["typed.ts"] }));
  run(project, process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", config]);
  return "no error";
}

function esbuild(kind, ...flags) {
  const out = join(project, "built", `bundle.${kind}`);
  const format = kind === "mjs" ? "esm" : "cjs";
  const args = [`draw.${kind}`, "--bundle", "--platform=node", `--format=${format}`, `--outfile=${out}`];
  run(project, tool("esbuild", "bin", "esbuild"), [...args, ...flags, "--log-level=error"]);
  return out;
}

/** Through webpack's own interface: its command line is another package. */
function webpack(externals = {}) {
  const output = { path: join(project, "built"), filename: "webpack.cjs" };
  const config = { mode: "none", target: "node", entry: "./draw.cjs", context: project, output, externals };
  const build = `require(${JSON.stringify(tool("webpack"))})(${JSON.stringify(config)}, (error, stats) => {
  if (error || stats.hasErrors()) { console.error(error ?? stats.toString("errors-only")); process.exitCode = 1; }
});`;
  run(project, process.execPath, ["-e", build]);
  return join(project, "built", "webpack.cjs");
}

const spawn = (cwd, program, args) =>
  spawnSync(program, args, { cwd, encoding: "utf8", maxBuffer: 64e6, shell: process.platform === "win32" });

function run(cwd, program, args) {
  const result = spawn(cwd, program, args);
  if (result.status === 0) return result;
  const said = `${result.error?.message ?? ""}${result.stdout ?? ""}${result.stderr ?? ""}`;
  throw new Error(
    `${program} ${args.slice(0, 2).join(" ")} ended with ${result.status}: ${said.slice(-2000)}`,
  );
}

function check(name, work) {
  const start = Date.now();
  try {
    const result = work();
    console.log(`ok      ${name}: ${result} (${Math.round((Date.now() - start) / 1000)} s)`);
  } catch (error) {
    failures.push(name);
    console.log(`failed  ${name}: ${error.message}`);
  }
}

try {
  main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (failures.length > 0) {
  console.error(`failed: ${failures.join(", ")}`);
  process.exitCode = 1;
}
