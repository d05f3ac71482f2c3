import { readFileSync } from "node:fs";
import type { Option } from "commander";
import { exitCodes, reportFailure } from "./failure.js";
import { note, type Session } from "./session.js";

/**
 * What is left of the five seconds in which a start works or has failed. They began with the process, and loading the
 * program is part of them; where a busy machine takes long for that, what is asked still gets a moment to answer.
 */
export const startTime = (): number => Math.max(2000, 4500 - performance.now());

/**
 * Reads an option from the environment, too. A variable that is set to nothing, as compose files and units do, counts as
 * not set. It is named and not read here: help would show its value, which may hold a password.
 */
export const orFromEnv = (option: Option, variable: string): Option =>
  process.env[variable] === "" ? option : option.env(variable);

/** Something that runs until it is told to stop. */
interface Service {
  /** Ends within the grace period. */
  close(): Promise<void>;
  /** Aborted when it cannot go on. */
  readonly failed?: AbortSignal;
}

interface Running<T extends Service> {
  /** Milliseconds that it is given to end. */
  readonly graceMs: number;
  readonly start: () => Promise<T>;
  readonly started: (service: T) => void;
  /** What is said while it ends. */
  readonly stopping: string;
}

/**
 * Runs a service: a start that fails ends the process with code 1 and one line, whatever it has opened; Ctrl-C and
 * SIGTERM end it within its grace period, also while it starts, as process 1 of a container, and by way of npx.
 */
export async function runService<T extends Service>(session: Session, running: Running<T>): Promise<void> {
  // First of all: process 1 of a container is not ended by signals that it does not ask for.
  const stop = stopSignal(session);
  const service = await Promise.race([running.start(), aborted(stop)]).catch((error: unknown) => {
    process.exit(reportFailure(error, session, exitCodes.failed));
  });
  if (!service) process.exit(session.signal.aborted ? exitCodes.interrupted : exitCodes.done);
  running.started(service);
  const { failed = new AbortController().signal } = service;
  await Promise.race([aborted(stop), aborted(failed)]);
  if (failed.aborted) process.exit(reportFailure(failed.reason, session, exitCodes.failed));
  note(running.stopping);
  // Whatever hangs: the process that asks us to stop does not wait for longer.
  setTimeout(() => {
    note("not all of it ended in time");
    process.exit(exitCodes.failed);
  }, running.graceMs + 1000).unref();
  await service.close();
  setTimeout(() => process.exit(), 500).unref();
}

const aborted = (signal: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });

/** Aborted by Ctrl-C, by SIGTERM, and, when npx or npm has started us, by their end: they do not always tell us. */
function stopSignal({ signal }: Session): AbortSignal {
  const stop = new AbortController();
  process.once("SIGTERM", () => stop.abort());
  if (process.env.npm_command !== undefined) {
    const before = ancestors();
    setInterval(() => {
      if (ancestors() !== before) stop.abort();
    }, 500).unref();
  }
  return AbortSignal.any([signal, stop.signal]);
}

/** The process that started us and the one that started that: npm puts a shell in between. */
function ancestors(): string {
  const { ppid } = process;
  try {
    const stat = readFileSync(`/proc/${ppid}/stat`, "utf8");
    return `${ppid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]}`;
  } catch {
    return String(ppid);
  }
}
