import type { JobQueue } from "../queue/queue.js";
import { Refusal } from "../refusal.js";

export interface AdmissionOptions {
  /** Jobs that may wait; default: as many as the queue takes. */
  readonly queued?: number;
  /** Jobs of one client that may wait; default: as many as the queue takes. */
  readonly queuedPerClient?: number;
}

interface Waiting {
  readonly client: string;
  /** The queue has it. */
  submitted: boolean;
}

/** Jobs of a client with too many that are asked after: the oldest, which are the first to have ended. */
const ASKED_AFTER = 20;

/** Counts the jobs of each client from before they are looked at until they begin. */
export class Admission {
  readonly #queue: JobQueue;
  readonly #options: AdmissionOptions;
  /** The jobs that were let in here and wait, oldest first. */
  readonly #waiting = new Map<string, Waiting>();
  #listens = false;

  constructor(queue: JobQueue, options: AdmissionOptions) {
    this.#queue = queue;
    this.#options = options;
  }

  /** @throws Refusal 429 */
  async admit(id: string, client: string | undefined): Promise<void> {
    if (client !== undefined) {
      if (this.#isFull(this.#of(client))) await this.#forgetGone(client);
      this.#count(id, client);
    }
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

  #of(client: string): readonly (readonly [string, Waiting])[] {
    return [...this.#waiting].filter(([, waiting]) => waiting.client === client);
  }

  #isFull({ length }: readonly unknown[]): boolean {
    return length >= (this.#options.queuedPerClient ?? Number.POSITIVE_INFINITY);
  }

  /** Whose end nobody has told of: the queue has lost it, or what was told went by while it was away. */
  async #forgetGone(client: string): Promise<void> {
    const oldest = this.#of(client).filter(([, { submitted }]) => submitted);
    const asked = oldest.slice(0, ASKED_AFTER).map(async ([id]) => {
      if ((await this.#queue.get(id))?.status !== "queued") this.leave(id);
    });
    await Promise.all(asked);
  }

  /** At once, so that many at the same moment are counted as well. */
  #count(id: string, client: string): void {
    const waiting = this.#of(client);
    if (this.#isFull(waiting))
      throw new Refusal(429, "TOO_MANY", `${waiting.length} jobs of yours are waiting already`, {
        hint: "try again when some of them are done",
        headers: { "Retry-After": "10" },
      });
    this.#waiting.set(id, { client, submitted: false });
    // Who only runs jobs, as a worker does, has no need to hear of all that others run.
    if (!this.#listens)
      this.#queue.subscribe(({ job }) => {
        if (job.status !== "queued") this.leave(job.id);
      });
    this.#listens = true;
  }

  /** The queue has taken it. */
  submitted(id: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.submitted = true;
  }

  leave(id: string): void {
    this.#waiting.delete(id);
  }
}
