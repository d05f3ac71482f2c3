import { fork } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { nodeArguments } from "../disk/package.js";
import { DiffusionError } from "../errors.js";
import { hubSettings } from "../hub/settings.js";
import { defaultModels } from "../index.js";
import { cpuFlags } from "../runtime/machine.js";
import { Engine } from "../runtime/process/engine.js";
import type { Request, Status } from "../runtime/process/messages.js";
import { listModels } from "../weights/cache-entries.js";
import { cacheRoot } from "../weights/cache-root.js";
import { exitCodes } from "./failure.js";
import { bytesOf, foundDefaults, foundInHubCache } from "./models.js";
import { invocation, packageRoot, type Session, say, sayJson, version } from "./session.js";
import { bytesInWords, tableOf } from "./wording.js";

/** One thing that was looked at. A remedy stands with everything that is missing. */
interface Finding {
  readonly name: string;
  readonly value: string;
  readonly state: "ok" | "info" | "missing";
  readonly remedy?: string;
}

export function addDoctor(program: Command, session: Session): void {
  program
    .command("doctor")
    .summary("what is installed, what this machine can do, what is missing")
    .description("Looks at everything that this program needs. Exit code 1 when something is missing.")
    .option("--cache-dir <folder>", "the cache to look at")
    .action(async ({ cacheDir }: { cacheDir?: string }) => {
      const findings = [
        ...software(),
        ...(await tensorflow()),
        ...machine(),
        ...(await storage(cacheRoot(cacheDir))),
        ...(await models()),
      ];
      const missing = findings.filter(({ state }) => state === "missing");
      if (session.json) sayJson({ ok: missing.length === 0, findings });
      else {
        const marks = { ok: "ok", info: "", missing: "MISSING" };
        say(tableOf(findings.map(({ name, value, state }) => [name, marks[state], value])));
        for (const { name, remedy } of missing) say(`\n${name}: ${remedy}`);
        say(missing.length === 0 ? "\nNothing is missing." : `\n${missing.length} missing.`);
      }
      if (missing.length > 0) process.exitCode = exitCodes.failed;
    });
}

const info = (name: string, value: string): Finding => ({ name, value, state: "info" });
const checked = (name: string, value: string, remedy: string | undefined): Finding =>
  remedy === undefined ? { name, value, state: "ok" } : { name, value, state: "missing", remedy };

function software(): Finding[] {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const fits = major >= 20 && major < 25 && (major > 20 || minor >= 9);
  return [
    info("tfjs-diffusion", version),
    info("system", `${platform()} ${arch()} ${release()}`),
    checked("Node", process.version, fits ? undefined : "install Node 20.9 or later, up to 24"),
  ];
}

async function tensorflow(): Promise<Finding[]> {
  let status: Status;
  const engine = new Engine();
  try {
    status = await engine.status();
  } catch (error) {
    if (!(error instanceof DiffusionError)) throw error;
    return [checked("TensorFlow", error.message, `run \`${invocation} setup\`, which says what it lacks`)];
  } finally {
    await engine.dispose();
  }
  const { capabilities, residentBytes } = status;
  const nodes = Object.entries(capabilities.fused).map(
    ([node, there]) => `${node} ${there ? "fused" : "plain (slower)"}`,
  );
  return [
    checked("TensorFlow", `${status.tensorflow}, ${bytesInWords(residentBytes)} when loaded`, undefined),
    info("oneDNN", await oneDnn()),
    info("graph nodes", nodes.join(", ")),
    info("precisions", `fp32, fp16, ${await bfloat16()}`),
  ];
}

async function bfloat16(): Promise<string> {
  try {
    await (await Engine.forBfloat16()).dispose();
    return "bf16";
  } catch (error) {
    if (error instanceof DiffusionError) return `not bf16 (${error.message})`;
    throw error;
  }
}

/** oneDNN says its version only when it is used with ONEDNN_VERBOSE set: a process of its own tries the graph nodes. */
async function oneDnn(): Promise<string> {
  const setting = process.env.TF_ENABLE_ONEDNN_OPTS ?? "1";
  if (setting === "0") return "off (TF_ENABLE_ONEDNN_OPTS=0): everything is slower";
  const isSource = import.meta.url.endsWith(".ts");
  const entry = join(packageRoot, isSource ? "src/runtime/process/worker.ts" : "dist/runtime/worker.js");
  const worker = fork(entry, [], {
    execArgv: nodeArguments(entry),
    env: { ...process.env, TF_ENABLE_ONEDNN_OPTS: setting, ONEDNN_VERBOSE: "1" },
    serialization: "advanced",
    stdio: ["ignore", "pipe", "ignore", "ipc"],
  });
  const request: Request = { id: 1, name: "status", args: undefined };
  worker.send(request);
  worker.once("message", () => worker.disconnect()); // it ends then, and what it printed is complete
  const printed = await text(worker.stdout!);
  const found = /info,oneDNN v([\d.]+)/.exec(printed)?.[1];
  const isa = /info,cpu,isa:(.*)/.exec(printed)?.[1];
  return found ? `${found}${isa ? `, ${isa}` : ""}` : "version unknown (it did not say)";
}

/** The instruction sets that oneDNN has kernels for, under Linux's names for them. */
const features: readonly [label: string, flag: string][] = [
  ["AVX2", "avx2"],
  ["AVX512", "avx512f"],
  ["VNNI", "avx512_vnni"],
  ["BF16", "avx512_bf16"],
  ["AMX", "amx_tile"],
];

function machine(): Finding[] {
  const flags = cpuFlags();
  const known = features.map(([label, flag]) => `${label} ${flags.has(flag) ? "yes" : "no"}`);
  const limit = process.constrainedMemory?.() ?? 0;
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  const available = Math.min(availableMemory(), total);
  return [
    info("CPU", cpus()[0]?.model.trim() || "unknown"),
    info("features", flags.size > 0 ? known.join(", ") : "unknown (no /proc/cpuinfo)"),
    info("cores", `${coresInWords()}; --threads sets how many are used`),
    info("memory", `${bytesInWords(total)}, ${bytesInWords(available)} available`),
  ];
}

function coresInWords(): string {
  const usable = availableParallelism();
  const physical = physicalCores();
  const threads = `${usable} usable hardware thread${usable === 1 ? "" : "s"}`;
  return physical === undefined ? threads : `${physical} physical, ${threads}`;
}

/** Distinct pairs of socket and core, where Linux tells. */
function physicalCores(): number | undefined {
  const text = readIfThere("/proc/cpuinfo");
  const sockets = [...text.matchAll(/^physical id\s*:\s*(\d+)$/gm)].map(([, id]) => id);
  const cores = [...text.matchAll(/^core id\s*:\s*(\d+)$/gm)].map(([, id]) => id);
  if (cores.length === 0) return undefined;
  return new Set(cores.map((core, i) => `${sockets[i]} ${core}`)).size;
}

/** What can be had without swapping; Linux counts what it would give up. */
function availableMemory(): number {
  const [, kilobytes] = /^MemAvailable:\s*(\d+) kB$/m.exec(readIfThere("/proc/meminfo")) ?? [];
  return kilobytes ? Number(kilobytes) * 1024 : freemem();
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The default models converted need this much, with room for graphs. */
const enoughBytes = 500e6;

async function storage(root: string): Promise<Finding[]> {
  let existing = root;
  while (!existsSync(existing)) existing = dirname(existing);
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const elsewhere = "set TFJS_DIFFUSION_CACHE to a folder elsewhere";
  const cached = listModels(root);
  const amount = `${bytesInWords(bytesOf(root))}, weights of ${cached.length} networks`;
  const remedy = isWritable(existing) ? undefined : `it cannot be written: ${elsewhere}`;
  return [
    checked("cache", `${root}, ${amount}`, remedy),
    checked(
      "disk",
      `${bytesInWords(free)} free`,
      free > enoughBytes ? undefined : `free some space, or ${elsewhere}`,
    ),
  ];
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function models(): Promise<Finding[]> {
  const included = foundDefaults();
  const hub = await foundInHubCache();
  const findings = defaultModels.map((name) => {
    const found = included.find((model) => model.name === name);
    const remedy = found
      ? undefined
      : "its folder in weights/ is gone: check out or install the package again";
    return checked(name, found ? bytesInWords(found.bytes) : "not found", remedy);
  });
  const bytes = hub.reduce((sum, model) => sum + model.bytes, 0);
  const { cacheDir } = hubSettings();
  return [...findings, info("hub cache", `${cacheDir}, ${hub.length} models, ${bytesInWords(bytes)}`)];
}
