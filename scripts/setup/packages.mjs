/** What a clone needs besides TensorFlow: the npm packages of its lock file, and dist/ built from its sources. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkSpace } from "./library.mjs";
import { SetupError, say } from "./report.mjs";
import { errorLine, run } from "./run.mjs";

/** node_modules with the tools for development takes about 540 MB. */
const SPACE_NEEDED = 700e6;

/** A clone has the lock file; a package that npm installed has not. */
export const isClone = (root) => existsSync(join(root, "package-lock.json"));

/** Paths in node_modules that the lock file wants and that are absent or of another version. */
export function missingPackages(root) {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return ["node_modules"];
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const present = JSON.parse(readFileSync(installed, "utf8")).packages;
  return Object.entries(wanted)
    .filter(
      ([path, { optional, devOptional }]) => path.startsWith("node_modules/") && !optional && !devOptional,
    )
    .filter(([path, { version }]) => present[path]?.version !== version || !existsSync(join(root, path)))
    .map(([path]) => path);
}

/** Installs the packages of the lock file. Without install scripts: this set-up does what they are for. */
export async function installPackages(root) {
  if (!existsSync(join(root, "node_modules"))) checkSpace(root, SPACE_NEEDED, "node_modules");
  const { status, output } = await npm(root, ["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
  if (status === 0) return;
  const reasons = output.split("\n").filter((line) => /^npm error (?!code|A complete log)\S/.test(line));
  throw new SetupError(
    `npm install failed: ${reasons[0] ?? errorLine(output)}`,
    "check the network, or run npm install yourself to see all that it says",
  );
}

/** npm as it was started, so that `npx npm@10 start` goes on with npm 10; else the one on the PATH. */
export function npm(root, args) {
  const started = process.env.npm_execpath;
  if (started?.endsWith("npm-cli.js")) return run(process.execPath, [started, ...args], { cwd: root });
  const name = process.platform === "win32" ? "npm.cmd" : "npm";
  return run(name, args, { cwd: root });
}

/** Every entry of tsup.config.ts; the last to be missing says that a build was cut short. */
const BUILT = ["dist/index.js", "dist/index.cjs", "dist/cli/main.js", "dist/runtime/worker.js"];
const SOURCES = ["src", "package.json", "tsconfig.json", "tsup.config.ts"];

/** True when dist/ is absent or older than a source; a folder's time tells of deleted files. */
export function isBuildStale(root) {
  const built = Math.min(...BUILT.map((name) => modified(join(root, name))));
  return SOURCES.some((name) => newest(join(root, name)) > built);
}

const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

function newest(path) {
  const time = modified(path);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return time;
  return Math.max(time, ...readdirSync(path).map((name) => newest(join(path, name))));
}

/** Builds the JavaScript of dist/. Type declarations take many times as long and only `npm run build` writes them. */
export async function build(root) {
  const tsup = join(root, "node_modules", "tsup", "dist", "cli-default.js");
  const { status, output } = await run(process.execPath, [tsup, "--no-dts", "--silent"], { cwd: root });
  if (status === 0) return;
  say(output.replace(/^ +at .*\n?/gm, "").trim());
  throw new SetupError("dist/ could not be built", "npm run build shows the same with all details");
}
