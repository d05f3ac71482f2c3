import { setTimeout as sleep } from "node:timers/promises";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { DiffusionError } from "../../../index.js";
import type { Log } from "../../log.js";
import { Refusal } from "../../refusal.js";
import type { StoredRequest } from "../../requests/request.js";
import type { Lack } from "../queue.js";
import type { FoundRecords } from "./found-by.js";
import type { Health } from "./health.js";
import type { JobLists } from "./lists.js";
import type { ProgressRecords } from "./progress.js";
import type { Records } from "./records.js";
import type { WorkerRecords } from "./workers.js";

/** What all that belongs to one queue in Redis works with. */
export interface Shared {
  /** How each job stands; beside them what jobs are found by, in which lists they are, how far they are, and who runs them. */
  readonly records: Records;
  readonly found: FoundRecords;
  readonly lists: JobLists;
  readonly progress: ProgressRecords;
  readonly workers: WorkerRecords;
  /** BullMQ's commands go over it as well: Redis carries out all commands of a process in the order in which they were given. */
  readonly redis: Redis;
  readonly bull: typeof import("bullmq");
  readonly prefix: string;
  readonly bullQueues: Map<string, Queue>;
  readonly lockMs: number;
  readonly missedMs: number;
  readonly log: Log;
  /** What this process is called in records. */
  readonly name: string;
  readonly health: Health;
  readonly lacking: Lacking;
}

export type Lacking = (request: StoredRequest) => Promise<Lack | undefined>;

/** How long an answer of Redis is waited for before a client is told that it does not come. */
const ANSWER_MS = 10_000;

const reasons: Readonly<Record<string, string>> = {
  OOM: "its memory is full",
  NOPERM: "its user may not do that",
  NOAUTH: "it does not know its user",
  READONLY: "it is a replica that takes no writes",
  MISCONF: "it cannot write to its disk",
  LOADING: "it is reading its data",
  MASTERDOWN: "its master is away",
};

/** An error of Redis that is none of the job's, as clients are told it: words of ours, no addresses. */
function refusedByRedis(error: unknown): { readonly why: string; readonly refusal: Refusal } | undefined {
  if (!(error instanceof Error)) return undefined;
  const [, code = ""] = /(?:^|\s)-?([A-Z]{3,12})\b/.exec(error.message) ?? [];
  // Of a command in a script Redis says it without its code.
  const why = reasons[/can't run this command/.test(error.message) ? "NOPERM" : code];
  if (why === undefined) return undefined;
  const refusal = new Refusal(503, "QUEUE", `the queue takes no jobs: ${why}`, {
    cause: error,
    headers: { "Retry-After": "10" },
  });
  return { why, refusal };
}

/** For the log: in words of ours where we have some. */
export const problemOf = (error: unknown): string =>
  refusedByRedis(error)?.why ?? (error instanceof Error ? error.message : String(error));

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
  } catch (error) {
    throw refusedByRedis(error)?.refusal ?? error;
  } finally {
    late.abort();
  }
}

export function notInstalled(cause: NodeJS.ErrnoException): never {
  if (cause.code !== "ERR_MODULE_NOT_FOUND" && cause.code !== "MODULE_NOT_FOUND") throw cause;
  throw new DiffusionError("UNSUPPORTED", "a queue in Redis needs the packages bullmq and ioredis", {
    cause,
    hint: "npm install bullmq@6 ioredis@6",
  });
}

/** @throws DiffusionError BAD_OPTION for what is no address of Redis; it is not repeated, as it may hold a password */
export function checkQueueUrl(url: string): void {
  if (!/^rediss?:\/\/\S+$/.test(url) || !URL.canParse(url) || new URL(url).hostname === "")
    throw new DiffusionError("BAD_OPTION", "the address of the queue cannot be understood", {
      hint: "like redis://127.0.0.1:6379, or rediss://user:password@host:port/database with TLS; special characters of a password as %40",
    });
}

/** What the client calls a mistake of its own is something else that answers, such as a web server. */
const reasonOf = ({ message }: Error): string =>
  /RESP type|Please report this/.test(message) ? "what answers there speaks another language" : message;

/** @throws DiffusionError QUEUE when it does not come in time, or says no */
export async function firstAnswer<T>(
  redis: Redis,
  url: string,
  ask: () => Promise<T>,
  answerMs: number,
): Promise<T> {
  const { host } = new URL(url); // without the password
  const late = new AbortController();
  try {
    return await new Promise<T>((resolve, reject) => {
      redis.once("error", reject);
      ask().then(resolve, reject);
      sleep(answerMs, undefined, { signal: late.signal }).then(
        () => reject(new Error(`no answer in ${(answerMs / 1000).toFixed(1)} s`)),
        () => {},
      );
    });
  } catch (cause) {
    throw new DiffusionError("QUEUE", `Redis at ${host} cannot be used: ${reasonOf(cause as Error)}`, {
      cause,
      hint: "start redis-server, or correct --queue redis://[user:password@]host:port; what the user must be allowed to do stands in docs/scaling.md",
    });
  } finally {
    late.abort();
  }
}
