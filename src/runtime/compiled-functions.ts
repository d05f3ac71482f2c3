import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { writeWholeSync } from "../disk/whole-file.js";
import { cacheRoot, compiledFolder } from "../weights/cache-root.js";
import { cpuFlags } from "./probe.js";

/**
 * The machine code that XLA makes of functions, kept for later processes: compiling costs some 30 ms a function,
 * reading it 10. TensorFlow itself reads and writes a folder that the environment names, but fails at a file that is cut
 * short, and writes in place. So each process has a temporary folder of its own, with copies of what was kept before
 * under checksums that still hold; what is new in it is kept after the first run of a network.
 */
export interface CompiledFunctions {
  /** Of TF_XLA_FLAGS, which TensorFlow reads when it is loaded. */
  readonly flags: string;
  /** Keeps what has been compiled since. */
  keep(): void;
}

const flag = "--tf_xla_persistent_cache_directory";

/**
 * @param folder for one CPU and one library
 * @returns undefined where the folder cannot be written, or not be named in flags
 */
export function openCompiledFunctions(folder: string): CompiledFunctions | undefined {
  if (/\s/.test(tmpdir())) return undefined; // flags are divided at spaces
  const known = new Set<string>();
  let own: string;
  try {
    own = mkdtempSync(join(tmpdir(), "tfjs-diffusion-compiled-"));
    for (const file of list(folder)) {
      const [, name, sum] = /^(.+\.pb)\.([0-9a-f]{24})$/.exec(file) ?? [];
      if (name === undefined) continue;
      const bytes = readFileSync(join(folder, file));
      if (digest(bytes) !== sum) rmSync(join(folder, file), { force: true });
      else {
        writeFileSync(join(own, name), bytes);
        known.add(name);
      }
    }
  } catch {
    return undefined;
  }
  process.once("exit", () => rmSync(own, { recursive: true, force: true }));
  return {
    flags: `${flag}=${own} --tf_xla_persistent_cache_device_types=CPU`,
    keep() {
      try {
        for (const name of readdirSync(own).filter((file) => file.endsWith(".pb") && !known.has(file))) {
          const bytes = readFileSync(join(own, name));
          mkdirSync(folder, { recursive: true });
          writeWholeSync(join(folder, `${name}.${digest(bytes)}`), bytes);
          known.add(name);
        }
      } catch {
        // A full disk, or a cache that is shared read-only: it is compiled again next time.
      }
    },
  };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // not made yet
  }
}

const digest = (of: string | Uint8Array): string =>
  createHash("sha256").update(of).digest("hex").slice(0, 24);
let inUse: CompiledFunctions | undefined;

/** To be called before TensorFlow is loaded. A folder that the user has named in TF_XLA_FLAGS stays. */
export function useCompiledFunctions(env: NodeJS.ProcessEnv = process.env): void {
  const given = env.TF_XLA_FLAGS ?? "";
  const library = wheelLibrary();
  if (given.includes(flag) || library === undefined) return;
  const key = digest(JSON.stringify([library, process.arch, cpus()[0]?.model, [...cpuFlags()].sort()]));
  inUse = openCompiledFunctions(join(compiledFolder(cacheRoot(undefined, env)), key));
  if (inUse) env.TF_XLA_FLAGS = `${given} ${inUse.flags}`.trim();
}

/** Keeps for later processes what this one has compiled. */
export const keepCompiledFunctions = (): void => inUse?.keep();

/** The file of the library that set-up takes from TensorFlow's wheel; others may not know the flags, and end at them. */
function wheelLibrary(): string | undefined {
  try {
    const require = createRequire(import.meta.url);
    const folder = join(dirname(require.resolve("@tensorflow/tfjs-node/package.json")), "deps", "lib");
    const path = realpathSync(join(folder, "libtensorflow_cc.so.2"));
    return `${path} ${statSync(path).size}`;
  } catch {
    return undefined;
  }
}
