import type { Redis } from "ioredis";
import type { Log } from "../../log.js";

/**
 * What of the jobs in this Redis could be lost by the way it is set up, one line for each, with what to do. Empty where
 * it does not tell: not every user may ask.
 */
export async function durabilityWarnings(redis: Redis): Promise<readonly string[]> {
  const info = await redis.info().catch(() => "");
  const value = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\s*$`, "m").exec(info)?.[1];
  const warnings: string[] = [];
  if (value("aof_enabled") === "0")
    warnings.push(
      "Redis keeps no append-only file: when it ends, jobs accepted since its last snapshot are lost; set appendonly yes and appendfsync always",
    );
  const policy = value("maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction")
    warnings.push(
      `Redis may throw jobs away when its memory is full (maxmemory-policy ${policy}); set maxmemory-policy noeviction`,
    );
  return warnings;
}

/** Notices that Redis has come back with older data: the counter of accepted jobs never goes back otherwise. */
export function lossWatch(readOrder: () => Promise<number>, log: Log): () => Promise<void> {
  let highest = 0;
  return async () => {
    const order = await readOrder();
    if (order < highest)
      log(
        `Redis has lost data: ${highest - order} jobs at least that were accepted are gone; whoever follows one of them is told`,
        { level: "error" },
      );
    highest = order;
  };
}
