import { type ChildProcess, fork } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { isMainThread } from "node:worker_threads";
import { layOutPlace } from "../compiled-functions.js";
import type { Reply, Request } from "./messages.js";
import { variablesOf, type WorkerSettings, workerEntry } from "./worker-process.js";

/** What its caller is told of a process that computes. */
export interface ComputingEvents {
  onReply(reply: Reply): void;
  onStderr(text: string): void;
  /** Once, when it has ended or could not be started: "was killed by SIGKILL". */
  onEnd(how: string): void;
}

/** A process that computes, as its caller holds it. */
export interface Computing {
  /** Undefined until it is known, which takes milliseconds. */
  readonly pid: number | undefined;
  send(request: Request, onFailure: (error: Error) => void): void;
  /** Ends it at once, whatever it does. */
  kill(): void;
  /** Whether it keeps its caller from ending. */
  hold(isHeld: boolean): void;
  /** Settles when it has ended. */
  readonly ended: Promise<void>;
}

/** What ends those that run: one in the middle of a step would not notice for a while that its caller is gone. */
const endings = new Set<() => void>();
let isWatched = false;

/** @param clear what it leaves behind */
function endWithCaller(computing: Computing, clear: () => void): void {
  const end = () => {
    computing.kill();
    clear();
  };
  endings.add(end);
  void computing.ended.then(() => {
    endings.delete(end);
    clear();
  });
  if (isWatched) return;
  isWatched = true;
  process.once("exit", () => {
    for (const end of endings) end();
  });
}

/** Starts a process that computes (`worker.ts`). */
export function startComputing(settings: WorkerSettings, events: ComputingEvents): Computing {
  const start = isMainThread || !systemReaps() ? startAttached : startDetached;
  const { variables, clear } = layOutPlace();
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let isOver = false;
  const computing = start({ ...variablesOf(settings), ...variables }, ended, {
    ...events,
    onEnd(how) {
      if (isOver) return;
      isOver = true;
      end();
      events.onEnd(how);
    },
  });
  endWithCaller(computing, clear);
  return computing;
}

type Start = (variables: NodeJS.ProcessEnv, ended: Promise<void>, events: ComputingEvents) => Computing;

const startAttached: Start = (variables, ended, events) => {
  const { path, execArgv } = workerEntry();
  const child = fork(path, [], {
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    execArgv,
    env: { ...process.env, ...variables },
  });
  listen(child, events);
  child.on("exit", (code, signal) => events.onEnd(endInWords(code, signal)));
  return {
    get pid() {
      return child.pid;
    },
    ended,
    send: sending(child),
    kill: () => void child.kill("SIGKILL"),
    hold: holding(child, [child.stderr]),
  };
};

/**
 * Tells the process's number, waits for it without holding what is its own, and tells how it ended. All of that is done
 * behind the back of the shell that was started, which is gone at once.
 */
const BEHIND = '{ "$0" "$@" >/dev/null & echo $!; exec 2>/dev/null 3>&-; wait $!; echo $?; } &';

/**
 * From a thread: one that is terminated waits for none of its children, and they would stay as zombies for as long as
 * the program runs. So the process is nobody's child here; the system's first process cleans up after it.
 */
const startDetached: Start = (variables, ended, events) => {
  const { path, execArgv } = workerEntry();
  const shell = fork(path, [], {
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execPath: "/bin/sh",
    execArgv: ["-c", BEHIND, process.execPath, ...execArgv],
    env: { ...process.env, ...variables },
  });
  let told = "";
  let isOver = false;
  let isKilled = false;
  const pid = () => (told.includes("\n") ? Number.parseInt(told, 10) : undefined);
  const kill = () => {
    isKilled = true;
    const number = pid();
    if (number === undefined || isOver) return;
    try {
      process.kill(number, "SIGKILL");
    } catch {
      // It has just ended by itself.
    }
  };
  shell.stdout?.on("data", (chunk: Buffer) => {
    told += chunk;
    if (isKilled) kill();
  });
  const status = () => Number.parseInt(told.split("\n")[1] ?? "", 10);
  shell.stdout?.on("close", () => {
    // Whoever waited for it is gone, so it is not left alone.
    if (Number.isNaN(status())) kill();
    isOver = true;
  });
  // All that it wrote has been read by then.
  shell.on("close", () => events.onEnd(statusInWords(status())));
  listen(shell, events);
  return {
    get pid() {
      return pid();
    },
    ended,
    send: sending(shell),
    kill,
    hold: holding(shell, [shell.stdout, shell.stderr]),
  };
};

function listen(child: ChildProcess, { onReply, onStderr, onEnd }: ComputingEvents): void {
  // First of all: where not even pipes can be made, the process has nothing else, and an error that nobody hears ends us.
  child.on("error", (error) => onEnd(`could not be started: ${error.message}`));
  child.stderr?.on("data", (chunk: Buffer) => onStderr(String(chunk)));
  child.on("message", (reply: Reply) => onReply(reply));
}

const sending =
  (child: ChildProcess): Computing["send"] =>
  (request, onFailure) =>
    void child.send?.(request, (error) => error && onFailure(error));

function holding(child: ChildProcess, streams: readonly unknown[]): Computing["hold"] {
  type Handle = { ref(): void; unref(): void } | null | undefined;
  return (isHeld) => {
    for (const handle of [child, child.channel, ...streams] as Handle[])
      isHeld ? handle?.ref() : handle?.unref();
  };
}

const endInWords = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal ? `was killed by ${signal}` : `ended with code ${code}`;

/** A shell adds 128 to the number of a signal. */
function statusInWords(status: number): string {
  if (Number.isNaN(status)) return "was lost";
  const [signal] = Object.entries(constants.signals).find(([, number]) => number === status - 128) ?? [];
  return endInWords(status, (signal as NodeJS.Signals | undefined) ?? null);
}

/** Whether the first process waits for those whose parent is gone: in a container it may be Node, which does not. */
function systemReaps(): boolean {
  if (process.platform !== "linux" || process.pid === 1 || !existsSync("/bin/sh")) return false;
  try {
    return !/node|npm|yarn|pnpm|bun/.test(readFileSync("/proc/1/cmdline", "latin1"));
  } catch {
    return false;
  }
}
