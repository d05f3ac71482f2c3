import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { QueueEvent } from "../queue.js";
import { readRecorded } from "./recorded.js";

/** The place in the stream from which on a reader misses nothing. */
export async function latestEvent(redis: Redis, stream: string): Promise<string> {
  const [latest] = await redis.xrevrange(stream, "+", "-", "COUNT", 1);
  return latest?.[0] ?? "0-0";
}

/** Everything that has happened since `last`, in order, also over lost connections. */
export async function readEvents(
  reader: Redis,
  stream: string,
  last: string,
  tell: (event: QueueEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const answer = await reader.xread("BLOCK", 5000, "STREAMS", stream, last).catch(() => sleep(100, null));
    for (const [id, [, type, , job]] of answer?.[0]?.[1] ?? []) {
      last = id;
      const recorded = readRecorded(job ?? "");
      if (typeof recorded !== "string") tell({ type: type as QueueEvent["type"], job: recorded });
    }
  }
}
