import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Adapters } from "../adapters/adapted-checkpoint.js";
import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { CallName, Calls, Reply, Status } from "./messages.js";
import type { Input, RunnerRequest } from "./runner.js";

type OnWeights = (done: number, total: number) => void;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  readonly onProgress?: OnWeights;
  readonly watch: Watch;
}

/** Of one call. */
interface Watch {
  /** The process has said something. */
  alive(): void;
  /** The call is over. */
  end(): void;
}

/** Starting, converting and loading take longer than a run: so many times `hangMs`, without a word of progress. */
const LOADING_HANGS = 3;

/** What ends the process that computes, besides its caller. */
interface Guards {
  /** Bytes of private memory; mapped weights, which the system may drop, do not count. Looked at on Linux only. */
  readonly memoryLimit?: number;
  /** Milliseconds that one run of a network may take; loading may be silent for three times as long. */
  readonly hangMs?: number;
}

export interface EngineOptions extends Guards {
  /** Default: one for each physical core. */
  readonly threads?: number;
  readonly sideBySide?: boolean;
}

/** A network in the other process; loaded when it is first run, and again after a crash. */
export interface RemoteNetwork {
  /** Loads the network if it is not, with these adapters over its weights; run() does so, too. */
  load(options?: NetworkUse): Promise<void>;
  run(inputs: Readonly<Record<string, Input>>, options?: NetworkUse): Promise<Record<string, Values>>;
  unload(): Promise<void>;
}

export interface NetworkUse {
  /** In place of those that it had; absent for none. */
  readonly adapters?: Adapters;
  readonly onProgress?: OnWeights;
}

/**
 * The caller's side of the process that computes: starts it on first use, numbers the calls, turns its death into
 * errors, and starts it anew for the next call. While nothing is asked of it, it does not keep the caller alive.
 */
export class Engine {
  readonly #threads: number;
  /** Threads take nodes, not parts of nodes: for graphs that compute the samples of a batch side by side. */
  readonly #sideBySide: boolean;
  /** The newest instruction set that oneDNN may use; by default what the CPU says it has. */
  readonly #instructionSet: string | undefined;
  readonly #guards: Guards;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | undefined;
  #stderr = "";
  #calls = 0;
  #networks = 0;

  constructor(options: EngineOptions & { instructionSet?: string } = {}) {
    const { memoryLimit, hangMs } = options;
    this.#guards = {
      ...(memoryLimit !== undefined && { memoryLimit }),
      ...(hangMs !== undefined && { hangMs }),
    };
    this.#threads = options.threads ?? physicalCores();
    this.#sideBySide = options.sideBySide ?? false;
    this.#instructionSet = options.instructionSet;
  }

  /**
   * A process in which products in bfloat16 run: with AMX, or without it where that is forbidden.
   *
   * @throws DiffusionError UNSUPPORTED where neither runs
   */
  static async forBfloat16(options: EngineOptions = {}): Promise<Engine> {
    for (const instructionSet of [undefined, "AVX512_CORE_BF16"]) {
      const engine = new Engine({ ...options, ...(instructionSet && { instructionSet }) });
      if (await engine.#call("tryBfloat16", undefined).catch(() => false)) return engine;
      await engine.dispose();
    }
    throw new DiffusionError("UNSUPPORTED", "bf16 needs a CPU with AVX512_BF16 or AMX that may be used", {
      hint: 'use precision "fp16" to save memory, or "fp32"',
    });
  }

  network(request: RunnerRequest): RemoteNetwork {
    const key = `${request.spec.kind} ${++this.#networks}`;
    let loaded: { readonly child: ChildProcess | undefined; readonly adapters: string } | undefined;
    // Between a load and its run nobody else may load other adapters.
    let turn: Promise<unknown> = Promise.resolve();
    const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
      const result = turn.then(work);
      turn = result.catch(() => undefined);
      return result;
    };
    const isLoaded = (): boolean => loaded !== undefined && loaded.child === this.#child;
    const load = async ({ adapters, onProgress }: NetworkUse): Promise<void> => {
      const name = JSON.stringify(adapters);
      if (isLoaded() && loaded?.adapters === name) return;
      loaded = undefined;
      const weights = { ...request.weights, ...(adapters && { adapters }) };
      await this.#call("load", { key, request: { ...request, weights } }, onProgress);
      loaded = { child: this.#child, adapters: name };
    };
    return {
      load: (use = {}) => inTurn(() => load(use)),
      run: (inputs, use = {}) =>
        inTurn(async () => {
          // It may have been unloaded meanwhile.
          do await load(use);
          while (!isLoaded());
          return this.#call("run", { key, inputs });
        }),
      unload: async () => {
        const wasLoaded = isLoaded();
        // Before the answer: whoever runs it from now on loads it first.
        loaded = undefined;
        if (wasLoaded) await this.#call("unload", { key });
      },
    };
  }

  /** Starts the process, which loads TensorFlow then, before anything is asked of it. */
  start(): void {
    this.#start();
  }

  status(): Promise<Status> {
    return this.#call("status", undefined);
  }

  /** Ends the process unless calls are under way; the next call starts another. All of its memory is given back. */
  endIfIdle(): void {
    const child = this.#child;
    if (!child || this.#pending.size > 0) return;
    // First: whoever calls from now on gets another process.
    this.#child = undefined;
    child.kill("SIGKILL");
  }

  /** Ends the process; calls under way are refused. */
  async dispose(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    await new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      // An idle child does not keep the caller alive, but the caller now waits for it.
      child.ref();
      child.kill("SIGKILL");
    });
  }

  #call<N extends CallName>(
    name: N,
    args: Calls[N]["args"],
    onProgress?: OnWeights,
  ): Promise<Calls[N]["result"]> {
    const child = this.#start();
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, {
        resolve: (result) => resolve(result as Calls[N]["result"]),
        reject,
        ...(onProgress && { onProgress }),
        watch: this.#watch(child, name),
      });
      this.#keepAlive(child);
      child.send({ id, name, args }, (error) => {
        if (error)
          this.#settle(id, (call) => call.reject(workerError(`cannot be reached: ${error.message}`, "")));
      });
    });
  }

  /** Ends the process when a call takes too long or too much memory; what was asked of it is refused then. */
  #watch(child: ChildProcess, name: CallName): Watch {
    const { memoryLimit, hangMs } = this.#guards;
    const silentMs = hangMs !== undefined && name !== "run" ? LOADING_HANGS * hangMs : hangMs;
    const end = (how: string, hint: string) => {
      this.#lost(child, how, hint);
      child.kill("SIGKILL");
    };
    let hang: NodeJS.Timeout | undefined;
    const alive = () => {
      clearTimeout(hang);
      if (silentMs !== undefined)
        hang = setTimeout(
          () =>
            end(
              `gave no answer for ${silentMs / 1000} s and was ended`,
              "where pictures of this size take so long, allow more: hangMs, or --hang of a worker",
            ),
          silentMs,
        );
    };
    alive();
    const memory =
      memoryLimit !== undefined
        ? setInterval(() => {
            const bytes = privateMemory(child.pid);
            if (bytes > memoryLimit)
              end(
                `took ${Math.round(bytes / 2 ** 20)} MB of memory, more than the ${Math.round(memoryLimit / 2 ** 20)} MB it may, and was ended`,
                "try a smaller size or precision fp16, or allow more: memoryLimit, or --memory of a worker",
              );
          }, 500)
        : undefined;
    return {
      alive,
      end() {
        clearTimeout(hang);
        clearInterval(memory);
      },
    };
  }

  #start(): ChildProcess {
    if (this.#child) return this.#child;
    const entry = workerEntry();
    const child = fork(entry.path, [], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      execArgv: entry.execArgv,
      env: {
        ...process.env,
        TF_ENABLE_ONEDNN_OPTS: process.env.TF_ENABLE_ONEDNN_OPTS ?? "1",
        // One node at a time and all threads in it, or the other way round.
        TF_NUM_INTRAOP_THREADS: this.#sideBySide ? "1" : String(this.#threads),
        TF_NUM_INTEROP_THREADS: this.#sideBySide ? String(this.#threads) : "1",
        ...(this.#instructionSet && { ONEDNN_MAX_CPU_ISA: this.#instructionSet }),
      },
    });
    this.#stderr = "";
    child.stderr!.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk).slice(-4000);
    });
    child.on("message", (reply: Reply) => this.#receive(reply));
    child.on("error", (error) => this.#lost(child, error.message));
    child.on("exit", (code, signal) =>
      this.#lost(child, signal ? `was killed by ${signal}` : `ended with code ${code}`),
    );
    this.#child = child;
    this.#keepAlive(child);
    return child;
  }

  #receive(reply: Reply): void {
    // Calls wait for each other: an answer to one shows that the others only have to wait.
    for (const { watch } of this.#pending.values()) watch.alive();
    if ("progress" in reply)
      this.#pending.get(reply.id)?.onProgress?.(reply.progress.done, reply.progress.total);
    else if ("error" in reply) {
      const { code, message, hint } = reply.error;
      this.#settle(reply.id, (call) =>
        call.reject(new DiffusionError(code, message, hint === undefined ? {} : { hint })),
      );
    } else this.#settle(reply.id, (call) => call.resolve(reply.result));
  }

  #settle(id: number, end: (call: Pending) => void): void {
    const call = this.#pending.get(id);
    if (!call) return;
    this.#pending.delete(id);
    call.watch.end();
    if (this.#child) this.#keepAlive(this.#child);
    end(call);
  }

  #lost(child: ChildProcess, how: string, hint?: string): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    const error = workerError(how, this.#stderr, hint);
    for (const id of [...this.#pending.keys()]) this.#settle(id, (call) => call.reject(error));
  }

  /** An idle child must not keep a script from ending, a busy one must. */
  #keepAlive(child: ChildProcess): void {
    const handles = [child, child.channel, child.stderr as unknown as { ref(): void; unref(): void } | null];
    for (const handle of handles) this.#pending.size > 0 ? handle?.ref() : handle?.unref();
  }
}

function workerError(
  how: string,
  stderr: string,
  hint = "if it was out of memory, try a smaller size or precision fp16",
): DiffusionError {
  const last = stderr
    .split("\n")
    .filter((line) => line.trim() !== "" && !remark.test(line))
    .at(-1);
  return new DiffusionError("WORKER", `the process that computes ${how}${last ? `: ${last}` : ""}`, {
    hint: `it is started again with the next call; ${hint}`,
  });
}

/** What TensorFlow writes without being in trouble: "I0000 00:00:1795384339.57 …", "2026-11-22 21:50:21.19: W tensorflow/…". */
const remark = /^(?:[IW]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages before absl)/;

/** Memory that the process shares with no file, swapped out or not. 0 where the system does not tell. */
function privateMemory(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kilobytes = (name: string) =>
      Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
    return (kilobytes("RssAnon") + kilobytes("VmSwap")) * 1024;
  } catch {
    return 0;
  }
}

/** The built worker next to the bundle, or its source, when the library itself runs from source. */
function workerEntry(): { path: string; execArgv: string[] } {
  const here = import.meta.url;
  if (here.endsWith(".ts")) {
    return { path: fileURLToPath(new URL("./worker.ts", here)), execArgv: ["--import", "tsx"] };
  }
  return { path: fileURLToPath(new URL("./runtime/worker.js", here)), execArgv: [] };
}

/** Two hardware threads of one core share its arithmetic units; more threads than cores are slower. */
function physicalCores(): number {
  try {
    const text = readFileSync("/proc/cpuinfo", "utf8");
    const cores = new Set(
      text.split("\n\n").map((cpu) => cpu.match(/^(physical id|core id)\s*:.*$/gm)?.join()),
    );
    cores.delete(undefined);
    if (cores.size > 0) return Math.min(cores.size, availableParallelism());
  } catch {
    // No Linux: what the system counts.
  }
  return availableParallelism();
}
