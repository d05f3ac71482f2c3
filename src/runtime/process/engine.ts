import { abortable } from "../../abortable.js";
import { DiffusionError } from "../../errors.js";
import type { NetworkKind, NetworkOf } from "../../models/registry.js";
import type { Compilation } from "../compiled-functions.js";
import type { RunnerRequest } from "../runner.js";
import { watchCompilation } from "./compilation.js";
import { type Computing, startComputing } from "./computing.js";
import { Interrupted, untilAnswered } from "./given-up.js";
import type { CallName, Calls, Reply, Request, Status } from "./messages.js";
import { type CallOptions, type OnWeights, type RemoteRunner, remoteRunner } from "./remote-runner.js";
import { type Guards, type Watch, watch } from "./watch.js";
import { physicalCores, type WorkerSettings, workerError } from "./worker-process.js";

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  readonly onProgress?: OnWeights;
  readonly watch: Watch;
  /** Ends looking at what is being compiled. */
  endCompilation?: () => void;
  /** Nobody waits for the answer any more. */
  isGivenUp: boolean;
}

/** Milliseconds that the process may go on with a call that was given up. Ending it costs the next call its start. */
const GIVEN_UP_MS = 700;

export interface EngineOptions extends Guards {
  /** Default: one for each physical core. */
  readonly threads?: number;
  readonly sideBySide?: boolean;
  /** As `WorkerSettings` has it. */
  readonly cacheRoot?: string;
}

/**
 * The caller's side of the process that computes: starts it on first use, numbers the calls, turns its death into
 * errors, and starts it anew for the next call. While nothing is asked of it, it does not keep the caller alive.
 */
export class Engine {
  readonly #settings: WorkerSettings;
  readonly #guards: Guards;
  readonly #givenUpMs: number;
  readonly #pending = new Map<number, Pending>();
  #child: Computing | undefined;
  #stderr = "";
  #calls = 0;
  #runners = 0;
  #isDisposed = false;
  /** The call that is given up and under way, and what ends the process if that goes on. */
  #heldUp: { readonly id: number; readonly end: NodeJS.Timeout } | undefined;

  constructor(options: EngineOptions & Pick<WorkerSettings, "instructionSet"> & { givenUpMs?: number } = {}) {
    this.#givenUpMs = options.givenUpMs ?? GIVEN_UP_MS;
    const { memoryLimit, hangMs, threads = physicalCores(), sideBySide = false } = options;
    const { cacheRoot, instructionSet } = options;
    this.#guards = {
      ...(memoryLimit !== undefined && { memoryLimit }),
      ...(hangMs !== undefined && { hangMs }),
    };
    this.#settings = {
      ...{ threads, sideBySide },
      ...(cacheRoot !== undefined && { cacheRoot }),
      ...(instructionSet && { instructionSet }),
    };
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

  get threads(): number {
    return this.#settings.threads;
  }

  runner<Kind extends NetworkKind>(request: RunnerRequest<Kind>): RemoteRunner<NetworkOf<Kind>> {
    return remoteRunner(request, `${request.spec.kind} ${++this.#runners}`, {
      call: (name, args, options) => this.#call(name, args, options),
      child: () => this.#child,
    });
  }

  /** Starts the process, which loads TensorFlow then, before anything is asked of it. */
  start(): void {
    this.#start();
  }

  status(): Promise<Status> {
    return untilAnswered(() => this.#call("status", undefined));
  }

  /** Ends the process unless calls are under way; the next call starts another. All of its memory is given back. */
  endIfIdle(): void {
    const child = this.#child;
    if (!child || this.#pending.size > 0) return;
    // First: whoever calls from now on gets another process.
    this.#child = undefined;
    child.kill();
  }

  /** Ends the process for good; calls under way are refused, and so are later ones. */
  async dispose(): Promise<void> {
    this.#isDisposed = true;
    const child = this.#child;
    if (!child) return;
    // An idle one does not keep the caller alive, but the caller now waits for it.
    child.hold(true);
    child.kill();
    await child.ended;
  }

  async #call<N extends CallName>(
    name: N,
    args: Calls[N]["args"],
    { signal, onGivenUp, onProgress }: CallOptions = {},
  ): Promise<Calls[N]["result"]> {
    signal?.throwIfAborted();
    const child = this.#start();
    const id = ++this.#calls;
    const giveUp = () => {
      onGivenUp?.();
      this.#giveUp(id);
    };
    signal?.addEventListener("abort", giveUp, { once: true });
    const answer = new Promise<Calls[N]["result"]>((resolve, reject) => {
      this.#pending.set(id, {
        resolve: (result) => resolve(result as Calls[N]["result"]),
        reject,
        ...(onProgress && { onProgress }),
        watch: watch(child, {
          ...this.#guards,
          isRun: name === "run",
          onEnd: (how, hint) => this.#lost(child, how, hint),
        }),
        isGivenUp: false,
      });
      this.#keepAlive(child);
      child.send({ id, name, args } as Request, ({ message }) =>
        this.#settle(id, (call) => call.reject(workerError(`cannot be reached: ${message}`, ""))),
      );
    });
    return abortable(answer, signal).finally(() => signal?.removeEventListener("abort", giveUp));
  }

  /** Calls are answered in their order: one that is not, although nobody waits for it, holds up those behind it. */
  #giveUp(id: number): void {
    const call = this.#pending.get(id);
    if (call) call.isGivenUp = true;
    this.#endIfHeldUp();
  }

  #endIfHeldUp(): void {
    const [[id, call] = []] = this.#pending;
    if (id !== undefined && id === this.#heldUp?.id) return;
    clearTimeout(this.#heldUp?.end);
    this.#heldUp = undefined;
    const child = this.#child;
    if (id === undefined || !call?.isGivenUp || !child) return;
    const end = setTimeout(() => {
      this.#lose(child, new Interrupted());
      child.kill();
    }, this.#givenUpMs);
    this.#heldUp = { id, end };
  }

  #start(): Computing {
    if (this.#isDisposed)
      throw new DiffusionError("BAD_OPTION", "the model was disposed of, and cannot be used any more", {
        hint: "load it again",
      });
    if (this.#child) return this.#child;
    this.#stderr = "";
    const child = startComputing(this.#settings, {
      onReply: (reply) => this.#receive(reply),
      onStderr: (text) => {
        this.#stderr = (this.#stderr + text).slice(-4000);
      },
      onEnd: (how) => this.#lost(child, how),
    });
    this.#child = child;
    this.#keepAlive(child);
    return child;
  }

  #receive(reply: Reply): void {
    // Calls wait for each other: an answer to one shows that the others only have to wait.
    for (const { watch } of this.#pending.values()) watch.alive();
    if ("progress" in reply)
      this.#pending.get(reply.id)?.onProgress?.(reply.progress.done, reply.progress.total);
    else if ("compilation" in reply) this.#watchCompilation(reply);
    else if ("error" in reply) {
      const { code, message, hint } = reply.error;
      this.#settle(reply.id, (call) =>
        call.reject(new DiffusionError(code, message, hint === undefined ? {} : { hint })),
      );
    } else this.#settle(reply.id, (call) => call.resolve(reply.result));
  }

  #watchCompilation({ id, compilation }: Extract<Reply, { compilation: Compilation }>): void {
    const call = this.#pending.get(id);
    if (call?.onProgress) call.endCompilation = watchCompilation(compilation, call.onProgress);
  }

  #settle(id: number, end: (call: Pending) => void): void {
    const call = this.#pending.get(id);
    if (!call) return;
    this.#pending.delete(id);
    call.watch.end();
    call.endCompilation?.();
    if (this.#child) this.#keepAlive(this.#child);
    this.#endIfHeldUp();
    end(call);
  }

  #lost(child: Computing, how: string, hint?: string): void {
    const error = this.#isDisposed
      ? new DiffusionError("WORKER", "the model was disposed of while it was at work", {
          hint: "wait for what is under way first, or abort it by its signal",
        })
      : workerError(how, this.#stderr, hint);
    this.#lose(child, error);
  }

  #lose(child: Computing, error: Error): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    for (const id of [...this.#pending.keys()]) this.#settle(id, (call) => call.reject(error));
  }

  /** An idle child must not keep a script from ending, a busy one must. */
  #keepAlive(child: Computing): void {
    child.hold(this.#pending.size > 0);
  }
}
