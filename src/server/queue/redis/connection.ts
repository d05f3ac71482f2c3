import { setTimeout as sleep } from "node:timers/promises";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { DiffusionError } from "../../../index.js";
import { Refusal } from "../../refusal.js";
import type { Records } from "./records.js";

/** What all that belongs to one queue in Redis works with. */
export interface Shared {
  readonly records: Records;
  /** BullMQ's commands go over it as well: Redis carries out all commands of a process in the order in which they were given. */
  readonly redis: Redis;
  readonly bull: typeof import("bullmq");
  readonly prefix: string;
  readonly bullQueues: Map<string, Queue>;
  readonly lockMs: number;
  readonly log: (line: string) => void;
}

/** How long an answer of Redis is waited for before a client is told that it does not come. */
const ANSWER_MS = 10_000;

/** An answer of Redis, or a refusal: requests do not hang for as long as it is gone. */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const late = new AbortController();
  const missing = sleep(ANSWER_MS, undefined, { signal: late.signal }).then(
    () => {
      throw new Refusal(503, "QUEUE", "the queue does not answer", {
        hint: "try again when Redis is back",
        headers: { "Retry-After": "10" },
      });
    },
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([ask(), missing]);
  } finally {
    late.abort();
  }
}

export function notInstalled(cause: NodeJS.ErrnoException): never {
  if (cause.code !== "ERR_MODULE_NOT_FOUND" && cause.code !== "MODULE_NOT_FOUND") throw cause;
  throw new DiffusionError("UNSUPPORTED", "a queue in Redis needs the packages bullmq and ioredis", {
    cause,
    hint: "npm install bullmq@5 ioredis@5",
  });
}

export async function firstConnection(redis: Redis, url: string): Promise<void> {
  const { host } = new URL(url); // without the password
  const refused = new Promise<never>((_, reject) => redis.once("error", reject));
  try {
    await Promise.race([redis.connect(), refused]);
  } catch (cause) {
    redis.disconnect();
    throw new DiffusionError("QUEUE", `Redis at ${host} cannot be reached: ${(cause as Error).message}`, {
      cause,
      hint: "start redis-server, or correct --queue redis://host:port",
    });
  }
}
