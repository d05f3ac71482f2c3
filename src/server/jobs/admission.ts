import type { JobQueue } from "../queue/queue.js";
import { Refusal } from "../refusal.js";

export interface AdmissionOptions {
  /** Jobs that may wait; default: as many as the queue takes. */
  readonly queued?: number;
  /** Jobs of one client that may wait; default: as many as the queue takes. */
  readonly queuedPerClient?: number;
}

/** Counts the jobs of each client from before they are looked at until they begin. */
export class Admission {
  readonly #queue: JobQueue;
  readonly #options: AdmissionOptions;
  /** Clients of the jobs that were let in here and wait. */
  readonly #waiting = new Map<string, string>();
  #listens = false;

  constructor(queue: JobQueue, options: AdmissionOptions) {
    this.#queue = queue;
    this.#options = options;
  }

  /** @throws Refusal 429 */
  async admit(id: string, client: string | undefined): Promise<void> {
    if (client !== undefined) this.#count(id, client);
    const { queued = Number.POSITIVE_INFINITY } = this.#options;
    try {
      if (queued < Number.POSITIVE_INFINITY && (await this.#queue.counts()).queued >= queued)
        throw new Refusal(429, "QUEUE_FULL", `${queued} jobs are waiting already`, {
          hint: "try again later",
          headers: { "Retry-After": "10" },
        });
    } catch (error) {
      this.leave(id);
      throw error;
    }
  }

  /** At once, so that many at the same moment are counted as well. */
  #count(id: string, client: string): void {
    const { queuedPerClient = Number.POSITIVE_INFINITY } = this.#options;
    const waiting = [...this.#waiting.values()].filter((other) => other === client).length;
    if (waiting >= queuedPerClient)
      throw new Refusal(429, "TOO_MANY", `${waiting} jobs of yours are waiting already`, {
        hint: "try again when some of them are done",
        headers: { "Retry-After": "10" },
      });
    this.#waiting.set(id, client);
    // Who only runs jobs, as a worker does, has no need to hear of all that others run.
    if (!this.#listens)
      this.#queue.subscribe(({ job }) => {
        if (job.status !== "queued") this.leave(job.id);
      });
    this.#listens = true;
  }

  leave(id: string): void {
    this.#waiting.delete(id);
  }
}
