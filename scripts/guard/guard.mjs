/**
 * Makes tfjs-node's own install script stand back when npm runs it: that script downloads from a single host
 * and fails the whole installation where the host is out of reach. scripts/setup.mjs does its work instead.
 *
 * npm runs the `preinstall` scripts of all packages before any `install` script. So this is run as a
 * `preinstall`: of the package tfjs-diffusion where it is a dependency, and in a clone, whose own `preinstall`
 * would come last, of this folder, which the clone installs as a dependency (a copy: `install-links` in .npmrc).
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const GUARD =
  'if (process.env.npm_lifecycle_event === "install") process.exit(0); // put here by tfjs-diffusion, which sets TensorFlow up itself\n';

try {
  const manifest = createRequire(import.meta.url).resolve("@tensorflow/tfjs-node/package.json");
  const script = join(dirname(manifest), "scripts", "install.js");
  const source = readFileSync(script, "utf8");
  if (!source.startsWith(GUARD)) {
    // Renamed into place: the file itself may be a hard link into a package manager's store.
    writeFileSync(`${script}.new`, GUARD + source);
    renameSync(`${script}.new`, script);
  }
} catch (error) {
  // An installation must not fail here either; without the guard, tfjs-node's script simply runs.
  console.error(`tfjs-node keeps its own install script: ${error.message}`);
}
