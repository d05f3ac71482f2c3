import { createHash, randomUUID } from "node:crypto";
import {
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeWholeSync } from "../disk/whole-file.js";
import { list } from "../weights/cache-entries.js";
import { cacheRoot, compiledFolder } from "../weights/cache-root.js";
import { machineKey } from "./machine.js";

/**
 * The machine code that XLA makes of functions, kept for later processes: compiling costs some 30 ms a function,
 * reading it 10. TensorFlow itself reads and writes a folder that the environment names, but fails at a file that is cut
 * short, and writes in place. So each process has a temporary folder of its own, with links to what was kept before
 * under checksums that still hold; what is new in it is kept after the first run of a network.
 */
export interface CompiledFunctions {
  /** Of TF_XLA_FLAGS, which TensorFlow reads when it is loaded. */
  readonly flags: string;
  /** Lays out what is kept. To be called before a function is run: most processes begin with others than compiled ones. */
  layOut(): Omit<Compilation, "total">;
  /** Keeps what has been compiled since. */
  keep(): void;
}

/** Functions that a process is about to compile: each leaves a file in the folder when it is done. */
export interface Compilation {
  readonly folder: string;
  /** Files that were there before. */
  readonly before: number;
  /** As many as there can be; those that are kept from earlier processes are not compiled again. */
  readonly total: number;
}

/** How many functions the files in the folder hold. */
export const compiledIn = (folder: string): number =>
  list(folder).filter((name) => name.endsWith(".pb")).length;

/** The variable in which a process that computes is told where to lay out compiled functions. */
const layOutVariable = "TFJS_DIFFUSION_LAYOUT";

/** A place for one process to lay them out: its caller clears it away, as one that is killed cannot. */
export function layOutPlace(): { readonly variables: NodeJS.ProcessEnv; clear(): void } {
  const folder = join(tmpdir(), `tfjs-diffusion-compiled-${randomUUID()}`);
  return {
    variables: { [layOutVariable]: folder },
    clear() {
      try {
        rmSync(folder, { recursive: true, force: true });
      } catch {
        // The system clears its temporary files, too.
      }
    },
  };
}

const flag = "--tf_xla_persistent_cache_directory";

/**
 * @param folder for one CPU and one library
 * @param place to lay them out, not there yet; default: a temporary folder
 * @returns undefined where there is no place for temporary files, or where it cannot be named in flags
 */
export function openCompiledFunctions(folder: string, place?: string): CompiledFunctions | undefined {
  if (/\s/.test(tmpdir())) return undefined; // flags are divided at spaces
  const known = new Set<string>();
  /** Links that TensorFlow has not followed yet, and where they lead. */
  const unused = new Map<string, string>();
  let own: string;
  let isLaidOut = false;
  try {
    own = place ?? mkdtempSync(join(tmpdir(), "tfjs-diffusion-compiled-"));
    if (place !== undefined) mkdirSync(place, { mode: 0o700 });
  } catch {
    return undefined;
  }
  process.once("exit", () => rmSync(own, { recursive: true, force: true }));
  return {
    flags: `${flag}=${own} --tf_xla_persistent_cache_device_types=CPU`,
    layOut() {
      for (const file of isLaidOut ? [] : list(folder)) {
        const [, name, sum] = /^(.+\.pb)\.([0-9a-f]{24})$/.exec(file) ?? [];
        if (name === undefined) continue;
        const path = join(folder, file);
        try {
          if (digest(readFileSync(path)) !== sum) rmSync(path, { force: true });
          else {
            symlinkSync(path, join(own, name));
            known.add(name);
            lutimesSync(join(own, name), 0, 0);
            unused.set(name, path);
          }
        } catch {
          // Gone meanwhile, or compiled here already.
        }
      }
      isLaidOut = true;
      return { folder: own, before: compiledIn(own) };
    },
    keep() {
      try {
        for (const name of readdirSync(own).filter((file) => file.endsWith(".pb") && !known.has(file))) {
          const bytes = readFileSync(join(own, name));
          writeWholeSync(join(folder, `${name}.${digest(bytes)}`), bytes);
          known.add(name);
        }
        touchUsed(own, unused);
      } catch {
        // A full disk, or a cache that is shared read-only: it is compiled again next time.
      }
    },
  };
}

/**
 * The cache's bound goes by when a function was used last. TensorFlow does not say, but the system notes when a link is
 * followed; where it is told not to (noatime), the time that the function was compiled at stays.
 */
function touchUsed(own: string, unused: Map<string, string>): void {
  const now = new Date();
  for (const [name, path] of unused)
    if (lstatSync(join(own, name)).atimeMs > 0) {
      unused.delete(name);
      utimesSync(path, now, now);
    }
}

const digest = (of: Uint8Array): string => createHash("sha256").update(of).digest("hex").slice(0, 24);
let inUse: CompiledFunctions | undefined;

/** To be called before TensorFlow is loaded. A folder that the user has named in TF_XLA_FLAGS stays. */
export function useCompiledFunctions(env: NodeJS.ProcessEnv = process.env): void {
  const given = env.TF_XLA_FLAGS ?? "";
  const key = machineKey();
  if (given.includes(flag) || key === undefined) return;
  const folder = join(compiledFolder(cacheRoot(undefined, env)), key);
  inUse = openCompiledFunctions(folder, env[layOutVariable]);
  if (inUse) env.TF_XLA_FLAGS = `${given} ${inUse.flags}`.trim();
}

/** TF_XLA_FLAGS without what `useCompiledFunctions` adds, which is another folder in each process. */
export const flagsOfUser = ({ TF_XLA_FLAGS: flags = "" }: NodeJS.ProcessEnv): string =>
  inUse ? flags.replace(inUse.flags, "").trim() : flags;

/** Lets TensorFlow find what earlier processes have compiled. */
export const layOutCompiledFunctions = (): Omit<Compilation, "total"> | undefined => inUse?.layOut();

/** Keeps for later processes what this one has compiled. */
export const keepCompiledFunctions = (): void => inUse?.keep();
