import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeFolder } from "./folders.js";
import { writeWhole } from "./whole-file.js";

/*
 * Why not a library: proper-lockfile, the one that is kept and needs no compiler, locks by a folder that it touches now
 * and then. A folder says nothing: not whose it is, nor where that server listens, which a second start has to tell. And
 * it knows the living from the dead by the time of the last touch alone: a server that stands still (SIGSTOP, a machine
 * asleep) loses its data folder to the next start, and writes on when it goes on. Locks of the system (flock, fcntl),
 * which say both, need an addon of their own for each platform.
 */

/** The owner touches its lock this often, in milliseconds. */
const HEARTBEAT = 1000;
/** Silence after which a lock counts as abandoned: its process is known to be dead, or (stopped, elsewhere) is not. */
const SILENCE_IF_DEAD = 3 * HEARTBEAT;
const SILENCE = 20 * HEARTBEAT;
const POLL = 150;

/**
 * Runs `run` while only this process holds the lock at `path`, whichever of the processes on this disk want it.
 * Node has no flock, so a lock is a file that only one can create, kept fresh while it is held; what a killed
 * process leaves behind is taken over.
 *
 * `run` gets a signal that aborts when `signal` does, or when the lock was lost (the machine slept, say).
 */
export async function withFileLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const mine = ownContent();
  await makeFolder(dirname(path));
  while (!(await create(path, mine))) {
    if (!(await takeOver(path))) await sleep(POLL, undefined, signal && { signal });
    signal?.throwIfAborted();
  }
  const lock = keepFresh(path, mine);
  try {
    return await run(signal ? AbortSignal.any([signal, lock.signal]) : lock.signal);
  } finally {
    await lock.release();
  }
}

/** A lock that is held until it is released, or lost. */
export interface HeldLock {
  /** Aborted with `LockLost` when another process has taken it over. */
  readonly signal: AbortSignal;
  /** What others are to know who find it held. */
  tell(about: string): Promise<void>;
  release(): Promise<void>;
}

/** Who holds a lock, as far as its file says. */
export interface LockOwner {
  readonly pid?: number;
  readonly host?: string;
  readonly about?: string;
}

/**
 * Takes the lock at `path` for as long as this process has a use for it. What a killed process left behind is taken
 * over, 3 s after its last sign of life; a lock of another machine that may be dead is watched for up to 20 s. A process
 * of this machine that stands still keeps its lock: it will go on writing where it stopped.
 *
 * @throws what `refusal` makes of a living owner, at once
 */
export async function holdFileLock(path: string, refusal: (owner: LockOwner) => Error): Promise<HeldLock> {
  const mine = ownContent();
  await makeFolder(dirname(path));
  let before: Seen | undefined;
  while (!(await create(path, mine))) {
    const seen = await look(path);
    if (seen && isSame(seen.content)) throw refusal(ownerOf(seen.content));
    if (seen && !isAbandoned(seen)) {
      const beat = before?.content === seen.content && seen.touched > before.touched;
      if (beat || isAlive(seen.content)) throw refusal(ownerOf(seen.content));
      await sleep(POLL);
    } else await takeOver(path);
    before = seen;
  }
  return keepFresh(path, mine);
}

/** The ids of locks that this process holds: its own number says nothing about them. */
const heldHere = new Set<string>();

const ownContent = (): string =>
  JSON.stringify({
    ...{ pid: process.pid, host: hostname(), id: randomUUID() },
    started: startOf(process.pid),
  });

/** When a process began, in ticks since the machine did: its number may have been another's before. Linux only. */
function startOf(pid: number): string | undefined {
  try {
    // Behind the name, which may hold spaces and brackets: proc_pid_stat(5), fields 3 and 22.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    return fields[0] === "Z" ? "ended" : fields[19]; // its parent has not looked yet
  } catch {
    return undefined;
  }
}

function keepFresh(path: string, content: string): HeldLock {
  let mine = content;
  const { id } = JSON.parse(content) as { id: string };
  heldHere.add(id);
  const lost = new AbortController();
  // One after the other, so that no beat reads what `tell` is about to replace.
  let last: Promise<void> = Promise.resolve();
  const next = (work: () => Promise<void>): Promise<void> => {
    last = last.then(work, work);
    return last;
  };
  const check = async () => {
    // What cannot be read now (too many open files, a network disk that is away) says nothing.
    const unread = ({ code }: NodeJS.ErrnoException) => (code === "ENOENT" ? undefined : mine);
    const found = await readFile(path, "utf8").catch(unread);
    if (found !== mine) lost.abort(new LockLost(path));
  };
  const beat = async () => {
    await check();
    const now = new Date();
    if (!lost.signal.aborted) await utimes(path, now, now).catch(() => undefined); // the next beat finds out why
  };
  const heartbeat = setInterval(() => void next(beat), HEARTBEAT);
  heartbeat.unref();
  return {
    signal: lost.signal,
    tell: (about) =>
      next(async () => {
        await check();
        if (lost.signal.aborted) return;
        const told = JSON.stringify({ ...JSON.parse(mine), about });
        await writeWhole(path, told);
        mine = told;
      }),
    async release() {
      clearInterval(heartbeat);
      heldHere.delete(id);
      await next(async () => {
        if (!lost.signal.aborted) await rm(path, { force: true });
      });
    },
  };
}

/** The reason of the signal that `run` gets when another process took the lock over: try again from the start. */
export class LockLost extends Error {
  constructor(path: string) {
    super(`another process took ${path}`);
    this.name = "LockLost";
  }
}

async function create(path: string, content: string): Promise<boolean> {
  // Written aside and linked into place, so that nobody ever reads half a lock.
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, content, { flag: "wx" });
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
    return createDirectly(path, content);
  } finally {
    await rm(draft, { force: true });
  }
}

/** File systems without hard links. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

async function createDirectly(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes an abandoned lock. Two may try at once: what was moved aside is put back if it was a fresh one. */
async function takeOver(path: string): Promise<boolean> {
  const seen = await look(path);
  if (!seen) return true;
  if (!isAbandoned(seen)) return false;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== seen.content) await link(aside, path);
  } catch {
    // another process was faster
  } finally {
    await rm(aside, { force: true });
  }
  return true;
}

interface Seen {
  readonly content: string;
  /** Milliseconds since 1970 of its last sign of life. */
  readonly touched: number;
  readonly silence: number;
}

async function look(path: string): Promise<Seen | undefined> {
  try {
    const [content, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    return { content, touched: mtimeMs, silence: Date.now() - mtimeMs };
  } catch {
    return undefined;
  }
}

function isAbandoned({ content, silence }: Seen): boolean {
  return silence > SILENCE || (silence > SILENCE_IF_DEAD && isDead(content));
}

function ownerOf(content: string): LockOwner & { readonly id?: string; readonly started?: string } {
  try {
    const { pid, host, id, about, started } = JSON.parse(content) as Record<string, unknown>;
    return {
      ...(typeof pid === "number" && { pid }),
      ...(typeof host === "string" && { host }),
      ...(typeof id === "string" && { id }),
      ...(typeof about === "string" && { about }),
      ...(typeof started === "string" && { started }),
    };
  } catch {
    return {};
  }
}

/** Whether the very process that took the lock is there, as far as that can be known; it may stand still. */
function isSame(content: string): boolean {
  const { pid, started } = ownerOf(content);
  return started !== undefined && isAlive(content) && startOf(pid!) === started;
}

/** Whether the lock names a process of this machine that no longer runs. */
const isDead = (content: string): boolean => stateOf(content) === "dead";
const isAlive = (content: string): boolean => stateOf(content) === "alive";

function stateOf(content: string): "alive" | "dead" | "unknown" {
  const { pid, host, id, started } = ownerOf(content);
  if (pid === undefined || host !== hostname()) return "unknown";
  // In a container every process is number 1: an earlier one with our number is not us.
  if (pid === process.pid && id !== undefined) return heldHere.has(id) ? "alive" : "dead";
  try {
    process.kill(pid, 0);
    const now = startOf(pid);
    return started === undefined || now === undefined || now === started ? "alive" : "dead";
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ESRCH" ? "dead" : "alive"; // EPERM: another user's
  }
}
