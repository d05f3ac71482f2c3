#!/usr/bin/env node
/**
 * Installs what is missing between a fresh clone, or `npm install tfjs-diffusion`, and a running program: npm packages,
 * TensorFlow's C library, tfjs-node's addon, dist/. When all is there, it ends at once. Node's own modules only.
 *
 *   node scripts/setup.mjs                   all of it; ends with status 1 when something could not be had
 *   node scripts/setup.mjs --after-install   as npm's postinstall: TensorFlow only, and never a failed installation
 *   node scripts/setup.mjs --from-cache      TensorFlow only, from what lies unpacked in the cache; nothing is downloaded
 *   node scripts/setup.mjs --official        tfjs-node's own build of TensorFlow 2.9.1 in place of 2.18.1, which is faster
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkLoads,
  ensureAddon,
  findCompiler,
  installOfficial,
  isInstalled,
  isOfficialUnasked,
  locateTfjsNode,
  place,
  prebuiltAddon,
} from "./setup/addon.mjs";
import {
  cacheFolder,
  ensureLibrary,
  isLibraryGood,
  libraryFolder,
  makeCacheFolder,
  wheelForThisMachine,
} from "./setup/library.mjs";
import { withLock } from "./setup/lock.mjs";
import { build, installPackages, isBuildStale, isClone, missingPackages } from "./setup/packages.mjs";
import { SetupError, say, timed } from "./setup/report.mjs";
import { hasTfjsNode, restoreTfjsNode } from "./setup/tfjs-node.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const afterInstall = process.argv.includes("--after-install");
const fromCache = process.argv.includes("--from-cache");
const official = process.argv.includes("--official");

const packages = {
  isMissing: () => missingPackages(root).length > 0 || !hasTfjsNode(root),
  install: () => timed("installing the npm packages", () => installPackages(root)),
};
const tensorflow = { isMissing: isTensorflowMissing, install: installTensorflow };
const dist = {
  isMissing: () => isBuildStale(root),
  install: () => timed("building", () => build(root)),
};

async function main() {
  const parts = afterInstall || fromCache || !isClone(root) ? [tensorflow] : [packages, tensorflow, dist];
  if (parts.every((part) => !part.isMissing())) return;
  if (fromCache && !isInCache()) throw new SetupError("TensorFlow's library is not in the cache");
  makeCacheFolder(cacheFolder());
  await withLock(join(cacheFolder(), "setup.lock"), async () => {
    for (const part of parts) if (part.isMissing()) await part.install();
  });
}

const tfjsNode = () => locateTfjsNode(createRequire(join(root, "package.json")));

function isTensorflowMissing() {
  if (!hasTfjsNode(root)) return true;
  const [wheel, library] = [wheelForThisMachine(), libraryFolder(cacheFolder())];
  if (!isInstalled(tfjsNode(), wheel, library)) return true;
  const isOfficial = !existsSync(join(tfjsNode().libraries, wheel?.libraries[0] ?? ""));
  return isOfficial ? false : official || !isLibraryGood(wheel, library);
}

function isInCache() {
  const [wheel, library] = [wheelForThisMachine(), libraryFolder(cacheFolder())];
  return hasTfjsNode(root) && wheel !== undefined && existsSync(library) && isLibraryGood(wheel, library);
}

/** The wheel's library with an addon of ours; tfjs-node's official build only when it is asked for. */
async function installTensorflow() {
  if (!hasTfjsNode(root)) await restoreTfjsNode(root);
  try {
    await (official ? installOfficial(tfjsNode(), root) : installFromWheel());
  } catch (error) {
    if (isOfficialUnasked(tfjsNode()))
      say(
        "TensorFlow 2.9.1, which tfjs-node's own install script put here, is used until this succeeds: it is slower",
      );
    if (error instanceof SetupError && !official) error.hint = `${error.hint ?? "run again"}\n${otherWay}`;
    throw error;
  }
  say("TensorFlow is ready");
}

const otherWay = `setup: or, without a hash to check it by, take tfjs-node's own build of TensorFlow 2.9.1, which is slower: ${
  isClone(root) ? "node scripts/setup.mjs" : "npx tfjs-diffusion setup"
} --official`;

async function installFromWheel() {
  const wheel = wheelForThisMachine();
  if (!wheel)
    throw new SetupError(
      `TensorFlow's C library is not published for ${process.platform} ${process.arch} with this C runtime`,
      "use Linux with glibc (x64, arm64) or macOS on Apple silicon",
    );
  const prebuilt = prebuiltAddon(root, tfjsNode());
  if (!existsSync(prebuilt)) await findCompiler(); // before 230 MB are downloaded in vain
  const library = await ensureLibrary(wheel, cacheFolder());
  if (existsSync(prebuilt)) {
    place(tfjsNode(), wheel, library, prebuilt);
    try {
      return await checkLoads(tfjsNode());
    } catch (error) {
      say(`${error.message}; compiling it`);
    }
  }
  const nodeHeaders = createRequire(join(root, "package.json"))("node-api-headers").include_dir;
  place(tfjsNode(), wheel, library, await ensureAddon(tfjsNode(), wheel, library, nodeHeaders));
  await checkLoads(tfjsNode());
}

/** What the operating system refused (ENOSPC, EACCES) explains itself; other errors are our own mistakes. */
const describe = (error) => (error instanceof SetupError || error.code ? error.message : error.stack);

try {
  await main();
} catch (error) {
  say(describe(error));
  if (error.hint) say(`what to do: ${error.hint}`);
  if (afterInstall)
    say(`the installation goes on without TensorFlow; to try again: node ${fileURLToPath(import.meta.url)}`);
  process.exitCode = afterInstall ? 0 : 1;
}
