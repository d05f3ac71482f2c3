import { createHash } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";

/** The instruction sets that matter here, as Linux names them; empty where there is no /proc/cpuinfo. */
export function cpuFlags(): ReadonlySet<string> {
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
    return new Set(line?.[1]?.trim().split(/\s+/));
  } catch {
    return new Set();
  }
}

let key: string | undefined;

/** Names this CPU and TensorFlow's library, for what is kept for the two alone; undefined for other libraries than set-up's. */
export function machineKey(): string | undefined {
  const library = wheelLibrary();
  if (library === undefined) return undefined;
  const parts = [library, process.arch, cpus()[0]?.model, [...cpuFlags()].sort()];
  key ??= createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 24);
  return key;
}

/** The file of the library that set-up takes from TensorFlow's wheel; others may not know its flags, and end at them. */
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
