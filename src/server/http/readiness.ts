import type { Parts } from "../jobs/accept.js";
import { refusalOf } from "../refusal.js";

/** Whether a job that is sent now would be run, and if not, why. */
export interface Readiness {
  readonly ready: boolean;
  readonly reason?: string;
  /** Without a queue: how far the model is. */
  readonly model?: string;
  /** With a queue: how many workers have been heard of lately. */
  readonly workers?: number;
  /** Models that jobs wait for and that no worker has. */
  readonly unserved?: readonly string[];
}

export async function readiness({ jobs, models }: Pick<Parts, "jobs" | "models">): Promise<Readiness> {
  if (jobs.closing) return { ready: false, reason: "the server is shutting down" };
  const { queue } = jobs;
  if (!queue.workers) {
    const { status } = models.state(models.current.label);
    return { ready: status === "ready", model: status };
  }
  try {
    await queue.probe?.();
    const [workers, lanes] = await Promise.all([queue.workers(), queue.lanes()]);
    const served = new Set(workers.flatMap((worker) => worker.lanes));
    const unserved = lanes
      .filter(({ lane, waiting }) => waiting > 0 && !served.has(lane))
      .map(({ lane }) => lane);
    const reason =
      workers.length === 0
        ? "no worker is there"
        : unserved.length > 0
          ? `no worker has ${unserved.join(", ")}, which jobs wait for`
          : undefined;
    return {
      ready: reason === undefined,
      workers: workers.length,
      ...(reason !== undefined && { reason }),
      ...(unserved.length > 0 && { unserved }),
    };
  } catch (error) {
    return { ready: false, reason: refusalOf(error).message };
  }
}
