import type { Redis } from "ioredis";
import { type Log, tellChanges } from "../../log.js";

/** What is said of Redis to whoever runs this process: once when it goes, once when it is back. */
export interface Health {
  /** Whether it answers; undefined when it does. */
  answers(problem: string | undefined): void;
  /** Whether it carries out what it is told. */
  obeys(problem: string | undefined): void;
  /** The connection is closed from our side: nothing more is said. */
  end(): void;
}

export function watchHealth(redis: Redis, log: Log): Health {
  const answers = tellChanges(log, {
    away: (problem) => `Redis cannot be reached: ${problem}; nothing is lost by that, and it is tried again`,
    back: "Redis can be reached again",
  });
  const obeys = tellChanges(log, {
    away: (problem) => `Redis refuses what the queue needs: ${problem}`,
    back: "Redis does what the queue needs again",
  });
  let why: string | undefined;
  let closing = false;
  redis.on("error", (error: NodeJS.ErrnoException) => {
    why = error.message || error.code;
  });
  redis.on("close", () => {
    if (!closing) answers(why ?? "the connection was closed");
    why = undefined;
  });
  redis.on("ready", () => answers(undefined));
  return {
    answers,
    obeys,
    end: () => {
      closing = true;
    },
  };
}
