import type { Redis } from "ioredis";
import type { JobQueue, QueueEvent } from "../queue.js";
import type { Shared } from "./connection.js";
import { readEvents } from "./events.js";

/** The side of a queue that tells what happens to jobs, whoever does it. */
export interface Listening {
  readonly subscribe: JobQueue["subscribe"];
  /** Somebody has told progress of a job. */
  progress(id: string): void;
  close(): Promise<void>;
}

/** @param listener a connection that only listens @param lastEvent of before the queue was opened */
export function listening(
  { records, progress, redis, prefix }: Shared,
  listener: Redis,
  lastEvent: string,
): Listening {
  const listeners = new Set<(event: QueueEvent) => void>();
  const closing = new AbortController();
  let events: Promise<void> | undefined;
  let reader: Redis | undefined;
  const tell = (event: QueueEvent) => {
    for (const listen of listeners) listen(event);
  };
  const tellProgress = async (id: string) => {
    const record = await records.read(id);
    if (record?.job.status === "running") tell({ type: "progress", job: await progress.addedTo(record.job) });
  };
  return {
    subscribe(listen) {
      listeners.add(listen);
      if (!reader) listener.subscribe(`${prefix}progress`).catch(() => {});
      if (!reader) {
        reader = redis.duplicate();
        reader.on("error", () => {});
      }
      events ??= readEvents(reader, `${prefix}events`, lastEvent, tell, closing.signal);
      return () => listeners.delete(listen);
    },
    progress: (id) => void (listeners.size > 0 && tellProgress(id).catch(() => {})),
    async close() {
      closing.abort();
      reader?.disconnect();
      await events;
    },
  };
}
