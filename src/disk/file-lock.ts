import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The owner touches its lock this often, in milliseconds. */
const HEARTBEAT = 1000;
/** Silence after which a lock counts as abandoned: its process is known to be dead, or (stopped, elsewhere) is not. */
const SILENCE_IF_DEAD = 3 * HEARTBEAT;
const SILENCE = 20 * HEARTBEAT;
const POLL = 150;

/**
 * Runs `run` while this process alone holds the lock at `path`, whichever of the processes on this disk want it.
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
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() });
  await mkdir(dirname(path), { recursive: true });
  while (!(await create(path, mine))) {
    if (!(await takeOver(path))) await sleep(POLL, undefined, signal && { signal });
    signal?.throwIfAborted();
  }
  const lost = new AbortController();
  const heartbeat = setInterval(async () => {
    const content = await readFile(path, "utf8").catch(() => undefined);
    if (content !== mine) return lost.abort(new LockLost(path));
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined); // the next beat finds out why
  }, HEARTBEAT);
  heartbeat.unref();
  try {
    return await run(signal ? AbortSignal.any([signal, lost.signal]) : lost.signal);
  } finally {
    clearInterval(heartbeat);
    if (!lost.signal.aborted) await rm(path, { force: true });
  }
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
  readonly silence: number;
}

async function look(path: string): Promise<Seen | undefined> {
  try {
    const [content, { mtimeMs }] = await Promise.all([readFile(path, "utf8"), stat(path)]);
    return { content, silence: Date.now() - mtimeMs };
  } catch {
    return undefined;
  }
}

function isAbandoned({ content, silence }: Seen): boolean {
  return silence > SILENCE || (silence > SILENCE_IF_DEAD && isDead(content));
}

/** Whether the lock names a process of this machine that no longer runs. */
function isDead(content: string): boolean {
  try {
    const { pid, host } = JSON.parse(content) as { pid?: unknown; host?: unknown };
    if (typeof pid !== "number" || host !== hostname()) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
