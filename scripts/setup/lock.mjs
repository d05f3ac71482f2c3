/** One set-up at a time: a lock file that outlives neither its owner nor a power cut. */
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { say } from "./report.mjs";

const HEARTBEAT_MS = 5_000;
/** A lock of another machine (a shared home folder) is dead when its heartbeat has stopped for so long. */
const SILENT_MS = 60_000;
/** Writing the lock takes a moment; one still without its content after this long was left by a power cut. */
const UNFINISHED_MS = 5_000;
/** Removing a dead lock takes a moment; a claim this old was left by a process that died in that moment. */
const CLAIM_MS = 10_000;

/** Runs `work` while holding the lock file `path`; waits for another living owner, takes over from a dead one. */
export async function withLock(path, work, { pollMs = 250 } = {}) {
  const token = `${JSON.stringify({ pid: process.pid, host: hostname(), token: crypto.randomUUID() })}\n`;
  let waiting = false;
  while (!take(path, token)) {
    const owner = read(path);
    if (owner === undefined) continue;
    if (isDead(path, owner)) {
      removeDead(path, owner);
      continue;
    }
    if (!waiting) say(`waiting for another set-up (${path}: ${owner.trim()})`);
    waiting = true;
    await sleep(pollMs);
  }
  const heartbeat = setInterval(() => utimesSync(path, new Date(), new Date()), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if (read(path) === token) rmSync(path, { force: true });
  }
}

function take(path, token) {
  try {
    writeFileSync(path, token, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function isDead(path, owner) {
  const silentMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  if (!owner.endsWith("\n")) return silentMs > UNFINISHED_MS;
  const { pid, host } = JSON.parse(owner);
  if (host !== hostname()) return silentMs > SILENT_MS;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH"; // EPERM: it lives and belongs to somebody else
  }
}

/** Two may see the same dead lock: only who makes the claim folder may remove it, and only if it is still that one. */
function removeDead(path, owner) {
  const claim = `${path}.claim`;
  try {
    mkdirSync(claim);
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    const made = statSync(claim, { throwIfNoEntry: false })?.mtimeMs;
    if (made !== undefined && Date.now() - made > CLAIM_MS) rmSync(claim, { recursive: true, force: true });
    return;
  }
  if (read(path) === owner) rmSync(path, { force: true });
  rmSync(claim, { recursive: true, force: true });
}
