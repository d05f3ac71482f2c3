/**
 * Compiles tfjs-node's addon for the package that is published, so that Linux on x64 needs no compiler. The result
 * depends on the compiler and on nothing else (no path, no time, no build id), and loads with glibc 2.17 and the libstdc++
 * of GCC 4.8, as TensorFlow's own library. `--check` compiles it twice and compares.
 */
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAddon, findCompiler, locateTfjsNode, prebuiltAddon } from "./setup/addon.mjs";
import { sha256 } from "./setup/download.mjs";
import { cacheFolder, ensureLibrary, wheelForThisMachine } from "./setup/library.mjs";

const MOST_BYTES = 1_000_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, "package.json"));

const flags = [
  "-fvisibility=hidden",
  "-ffile-prefix-map=/=",
  "-s",
  "-Wl,--build-id=none",
  join(root, "scripts", "addon", "bad-array-length.cc"),
];

async function compile(addon) {
  const wheel = wheelForThisMachine();
  const library = await ensureLibrary(wheel, cacheFolder());
  const nodeHeaders = require("node-api-headers").include_dir;
  const [tfjsNode, compiler] = [locateTfjsNode(require), await findCompiler()];
  mkdirSync(dirname(addon), { recursive: true });
  await compileAddon({ tfjsNode, wheel, library, nodeHeaders, compiler, addon, flags });
}

/** The newest version of the C or C++ library that a symbol asks for, as the last part of its number. */
function newest(addon, library) {
  const names = readFileSync(addon, "latin1").matchAll(new RegExp(`${library}(\\d+)`, "g"));
  return Math.max(0, ...[...names].map(([, last]) => Number(last)));
}

if (process.platform !== "linux" || process.arch !== "x64") {
  console.error("the addon is compiled for Linux on x64 only; elsewhere set-up compiles it");
} else {
  const addon = prebuiltAddon(root, locateTfjsNode(require));
  await compile(addon);
  if (process.argv.includes("--check")) {
    const first = await sha256(addon);
    rmSync(addon);
    await compile(addon);
    if ((await sha256(addon)) !== first)
      throw new Error(`${addon} is another file when it is compiled again`);
  }
  const { size } = statSync(addon);
  if (size > MOST_BYTES) throw new Error(`${addon} has ${size} bytes, more than ${MOST_BYTES}`);
  for (const [library, last] of [
    ["GLIBC_2.", 17],
    ["GLIBCXX_3.4.", 19],
  ]) {
    const wanted = newest(addon, library);
    if (wanted > last) throw new Error(`${addon} asks for ${library}${wanted}, newer than ${library}${last}`);
  }
  console.error(`${addon}: ${size} bytes, SHA-256 ${await sha256(addon)}`);
}
