#!/usr/bin/env node
/**
 * Installs what is missing between a fresh clone, or `npm install tfjs-diffusion`, and a running program: npm packages,
 * TensorFlow's C library, tfjs-node's addon, dist/. When all is there, it ends at once. Node's own modules only.
 *
 *   node scripts/setup.mjs                   all of it; ends with status 1 when something could not be had
 *   node scripts/setup.mjs --after-install   as npm's postinstall: TensorFlow only, and never a failed installation
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkLoads,
  ensureAddon,
  findCompiler,
  installOfficial,
  isInstalled,
  locateTfjsNode,
  place,
} from "./setup/addon.mjs";
import {
  cacheFolder,
  ensureLibrary,
  libraryFolder,
  makeCacheFolder,
  wheelForThisMachine,
} from "./setup/library.mjs";
import { withLock } from "./setup/lock.mjs";
import { build, installPackages, isBuildStale, isClone, missingPackages } from "./setup/packages.mjs";
import { SetupError, say, timed } from "./setup/report.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const afterInstall = process.argv.includes("--after-install");

const packages = {
  isMissing: () => missingPackages(root).length > 0,
  install: () => timed("installing the npm packages", () => installPackages(root)),
};
const tensorflow = {
  isMissing: () => !isInstalled(tfjsNode(), wheelForThisMachine(), libraryFolder(cacheFolder())),
  install: installTensorflow,
};
const dist = {
  isMissing: () => isBuildStale(root),
  install: () => timed("building", () => build(root)),
};

async function main() {
  const parts = afterInstall || !isClone(root) ? [tensorflow] : [packages, tensorflow, dist];
  if (parts.every((part) => !part.isMissing())) return;
  makeCacheFolder(cacheFolder());
  await withLock(join(cacheFolder(), "setup.lock"), async () => {
    for (const part of parts) if (part.isMissing()) await part.install();
  });
}

const tfjsNode = () => locateTfjsNode(createRequire(join(root, "package.json")));

/** The wheel's library with an addon of our own; where that fails, tfjs-node's official build. */
async function installTensorflow() {
  try {
    await installFromWheel();
  } catch (error) {
    say(describe(error));
    await installOfficial(tfjsNode(), root).catch((official) => {
      throw new SetupError(
        `TensorFlow is not set up: the official build failed too: ${describe(official)}`,
        error.hint,
      );
    });
  }
  say("TensorFlow is ready");
}

async function installFromWheel() {
  const wheel = wheelForThisMachine();
  if (!wheel)
    throw new SetupError(
      `TensorFlow's C library is not published for ${process.platform} ${process.arch} with this C runtime`,
      "use Linux with glibc (x64, arm64) or macOS on Apple silicon",
    );
  const compiler = await findCompiler(); // before 230 MB are downloaded in vain
  const library = await ensureLibrary(wheel, cacheFolder());
  const headers = createRequire(join(root, "package.json"))("node-api-headers").include_dir;
  place(tfjsNode(), wheel, library, await ensureAddon(tfjsNode(), wheel, library, compiler, headers));
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
