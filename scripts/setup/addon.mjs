/** tfjs-node's addon: compiled against the library in the cache, or the official build with a library of its own. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { SetupError, timed } from "./report.mjs";
import { errorLine, run } from "./run.mjs";
import { isUnchanged, stamp } from "./verify.mjs";

/** The newest Node-API version that tfjs-node 4.22 names; every Node from 12.19 has it, and it decides the path. */
const NAPI = 8;
/** The library as tfjs-node's own install script names it on Linux, macOS and Windows. */
const OFFICIAL = ["libtensorflow.so.2.9.1", "libtensorflow.dylib", "tensorflow.dll"];
const OFFICIAL_TIMEOUT_MS = 10 * 60_000;

const isMac = process.platform === "darwin";

/** Folders and files of the tfjs-node that `require` finds. */
export function locateTfjsNode(require) {
  const manifest = require.resolve("@tensorflow/tfjs-node/package.json");
  const folder = dirname(realpathSync(manifest));
  return {
    folder,
    version: require(manifest).version,
    addon: join(folder, "lib", `napi-v${NAPI}`, "tfjs_binding.node"),
    libraries: join(folder, "deps", "lib"),
  };
}

/** Says in tfjs-node's folder that its official library was asked for. */
const askedFor = (tfjsNode) => join(tfjsNode.libraries, "asked-for-by-tfjs-diffusion");
const hasOfficial = (tfjsNode) => OFFICIAL.some((name) => existsSync(join(tfjsNode.libraries, name)));

/**
 * True when addon and library are in place: the wheel's library of the right version. tfjs-node's official one counts
 * where no wheel is published, and where somebody asked for it.
 */
export function isInstalled(tfjsNode, wheel, library) {
  if (!existsSync(tfjsNode.addon)) return false;
  if (hasOfficial(tfjsNode)) return !wheel || existsSync(askedFor(tfjsNode));
  // The cache may have been moved or deleted since: a link is good if it still leads to the right version.
  const isGood = (link) =>
    existsSync(link) && dirname(dirname(realpathSync(link))).endsWith(basename(library));
  return wheel?.libraries.every((name) => isGood(join(tfjsNode.libraries, name))) ?? false;
}

/** True when tfjs-node's own install script has put its library there, unasked. */
export const isOfficialUnasked = (tfjsNode) =>
  existsSync(tfjsNode.addon) && hasOfficial(tfjsNode) && !existsSync(askedFor(tfjsNode));

/** The first C++ compiler that answers, as program and arguments. */
export async function findCompiler(candidates = [process.env.CXX, "g++", "clang++", "c++"]) {
  const named = candidates.filter(Boolean);
  for (const candidate of named) {
    const command = candidate.split(" ");
    const { status } = await run(command[0], [...command.slice(1), "--version"]);
    if (status === 0) return command;
  }
  throw new SetupError(
    `no C++ compiler was found (tried ${named.join(", ")}), and TensorFlow's addon has to be compiled`,
    `install a C++ compiler (${isMac ? "xcode-select --install" : "Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++"})`,
  );
}

/** The addon that comes with the package: compiled from tfjs-node's sources by scripts/build-addon.mjs. */
export const prebuiltAddon = (root, tfjsNode) =>
  join(root, "dist", "addon", `${addonName(tfjsNode)}-${process.platform}-${process.arch}.node`);

const addonName = ({ version }) => `tfjs-node-${version}-napi-v${NAPI}`;

/** Compiles the addon against the library unless that was done before; returns its path in the cache. */
export async function ensureAddon(tfjsNode, wheel, library, nodeHeaders) {
  const name = join("addon", `${addonName(tfjsNode)}.node`);
  const addon = join(library, name);
  if (isUnchanged(library, name)) return addon;
  const compiler = await findCompiler();
  mkdirSync(dirname(addon), { recursive: true });
  await timed("compiling TensorFlow's addon", () =>
    compileAddon({ tfjsNode, wheel, library, nodeHeaders, compiler, addon }),
  );
  stamp(library, name);
  return addon;
}

/** @param flags of the compiler, beside those that every addon needs */
export async function compileAddon({ tfjsNode, wheel, library, nodeHeaders, compiler, addon, flags = [] }) {
  const draft = `${addon}.part`;
  const [program, ...first] = compiler;
  const rpath = isMac ? "@loader_path/../../deps/lib" : "$ORIGIN/../../deps/lib";
  const args = [...first, "-std=c++17", "-O2", "-fPIC", "-shared", "-w", `-DNAPI_VERSION=${NAPI}`, ...flags];
  const folders = [nodeHeaders, join(library, "include"), tfjsNode.folder];
  args.push("-DNODE_GYP_MODULE_NAME=tfjs_binding", ...folders.flatMap((folder) => ["-I", folder]));
  args.push(join("binding", "tfjs_backend.cc"), join("binding", "tfjs_binding.cc"));
  args.push(...wheel.libraries.map((name) => join(library, "lib", name)), `-Wl,-rpath,${rpath}`);
  if (isMac) args.push("-undefined", "dynamic_lookup"); // Node itself provides Node-API
  args.push("-o", draft);
  const { status, output } = await run(program, args, { cwd: tfjsNode.folder });
  if (status !== 0)
    throw new SetupError(
      `${program} could not compile TensorFlow's addon: ${errorLine(output)}`,
      "a compiler for C++17 is needed (g++ 8, clang 7 or newer); CXX names another one",
    );
  renameSync(draft, addon);
}

/** Puts addon and links to the library into tfjs-node's folder. */
export function place(tfjsNode, wheel, library, addon) {
  mkdirSync(tfjsNode.libraries, { recursive: true });
  for (const path of [...OFFICIAL.map((name) => join(tfjsNode.libraries, name)), askedFor(tfjsNode)])
    rmSync(path, { force: true });
  for (const name of wheel.libraries)
    replace(join(tfjsNode.libraries, name), (draft) => symlinkSync(join(library, "lib", name), draft));
  mkdirSync(dirname(tfjsNode.addon), { recursive: true });
  replace(tfjsNode.addon, (draft) => copyFileSync(addon, draft));
}

function replace(path, write) {
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  write(draft);
  renameSync(draft, path);
}

/** Loads the addon in a process of its own; throws with the loader's words if that fails. */
export async function checkLoads(tfjsNode) {
  const { status, output } = await run(
    process.execPath,
    ["-e", `require(${JSON.stringify(tfjsNode.addon)})`],
    {
      env: { TF_CPP_MIN_LOG_LEVEL: "3" },
    },
  );
  if (status === 0) return;
  rmSync(tfjsNode.addon, { force: true }); // so that the next run starts over
  throw new SetupError(`TensorFlow's addon does not load: ${errorLine(output)}`);
}

/**
 * tfjs-node's own install script: downloads TensorFlow 2.9.1 and a compiled addon from its authors' host. No hash of ours
 * says what comes, so this is done only when it is asked for.
 */
export async function installOfficial(tfjsNode, root) {
  for (const name of ["deps", "lib"]) rmSync(join(tfjsNode.folder, name), { recursive: true, force: true });
  const bin = [join(root, "node_modules", ".bin"), join(tfjsNode.folder, "..", "..", ".bin")]; // for node-pre-gyp
  await timed("downloading the official TensorFlow 2.9.1", async () => {
    // Its HTTP client knows neither errors nor time-outs: as a child it can be stopped, and its crash is only its own.
    const { status, output } = await run(process.execPath, [join("scripts", "install.js")], {
      cwd: tfjsNode.folder,
      env: { PATH: [...bin, process.env.PATH].join(delimiter), npm_lifecycle_event: "setup" },
      timeoutMs: OFFICIAL_TIMEOUT_MS,
    });
    if (status === null) throw new SetupError(`no end after ${OFFICIAL_TIMEOUT_MS / 60_000} minutes`);
    if (status !== 0 || !existsSync(tfjsNode.addon)) throw new SetupError(errorLine(output));
  });
  writeFileSync(askedFor(tfjsNode), "");
  await checkLoads(tfjsNode);
}
