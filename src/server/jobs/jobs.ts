import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { hasEnded, type Job, type JobQueue, type NewJob } from "../queue/queue.js";
import { Refusal } from "../refusal.js";
import { Admission } from "./admission.js";
import { Running, type RunningOptions, type Work } from "./running.js";
import type { Interruptions } from "./running-job.js";

export interface JobsOptions extends RunningOptions {
  /** Jobs that may wait; default: as many as the queue takes. */
  readonly queued?: number;
  /** Jobs of one client that may wait; default: as many as the queue takes. */
  readonly queuedPerClient?: number;
}

/** How often those who wait look for themselves, in case a shared queue's events were lost. */
const LOOK_MS = 10_000;

/** A job on its way in. */
export type Sent<T> = Omit<T, "id"> & {
  /** Default: one that is drawn. */
  readonly id?: string;
  /** Its id is made of a key of the client's, who asks again with it. */
  readonly keyed?: boolean;
  /** Takes back what was stored for it, when the queue does not take it. */
  readonly refused?: () => Promise<void>;
};

/** Accepts jobs, has them run one after the other, and tells those who wait. */
export class Jobs {
  readonly queue: JobQueue;
  readonly #running: Running;
  readonly #admission: Admission;
  /** Jobs that somebody waits for here. */
  readonly #attended = new Set<string>();
  /** Of those, the ones that were cancelled because the server ends. */
  readonly #turnedAway = new Set<string>();
  readonly #stop = new AbortController();

  constructor(queue: JobQueue, work: Work, options: JobsOptions) {
    this.queue = queue;
    this.#admission = new Admission(queue, options);
    this.#running = new Running(queue, work, options, this.#stop.signal);
  }

  /** Whether it takes no more jobs. */
  get closing(): boolean {
    return this.#stop.signal.aborted;
  }

  get interruptions(): Interruptions {
    return this.#running.interruptions;
  }

  /** Begins to take jobs from the queue. */
  start(): void {
    this.#running.start();
  }

  /**
   * Lets a job of a client in, before anything that it brings is looked at. What follows submits the job under this
   * id, or takes it back by `leave`.
   *
   * @param client an address, for the limit of each
   * @throws Refusal 429 when the queue, or the client's part of it, is full; 503 during shutdown
   */
  async admit(id: string, client: string | undefined): Promise<void> {
    this.#refuseWhenClosing();
    await this.#admission.admit(id, client);
  }

  leave(id: string): void {
    this.#admission.leave(id);
  }

  #refuseWhenClosing(): void {
    if (this.closing) throw closing();
  }

  /** @throws Refusal 429 when the queue is full, 503 during shutdown */
  async submit({ id = randomUUID(), keyed = false, refused, ...job }: Sent<NewJob>): Promise<Job> {
    try {
      this.#refuseWhenClosing();
      this.#running.submitted();
      const accepted = await this.queue.enqueue({ ...job, id }, { keyed });
      if (accepted.status === "queued") this.#admission.submitted(id);
      else this.#admission.leave(id);
      return accepted;
    } catch (error) {
      this.#admission.leave(id);
      // What was not heard of in time may be accepted all the same.
      if (!(error instanceof Refusal && error.code === "QUEUE")) await refused?.().catch(() => {});
      throw error;
    }
  }

  /**
   * Submits a job for somebody who waits for it: when they leave (`signal`), it is cancelled.
   *
   * @throws Refusal as `submit`; 503 when the server ends before the job does
   */
  async run(
    { id = randomUUID(), ...job }: Sent<Omit<NewJob, "attended">>,
    signal: AbortSignal,
    onChange: (job: Job) => void = () => {},
  ): Promise<Job> {
    const unsubscribe = this.queue.subscribe((event) => {
      if (event.job.id === id) onChange(event.job);
    });
    const leave = () => void this.queue.cancel(id).catch(() => {});
    signal.addEventListener("abort", leave);
    this.#attended.add(id);
    try {
      await this.submit({ ...job, id, attended: true });
      if (signal.aborted) leave();
      const end = await this.ended(id);
      if (end.status === "cancelled" && this.#turnedAway.has(id)) throw closing();
      return end;
    } finally {
      signal.removeEventListener("abort", leave);
      this.#attended.delete(id);
      this.#turnedAway.delete(id);
      unsubscribe();
    }
  }

  /** Waits until a job has ended, however it ends. */
  async ended(id: string): Promise<Job> {
    const { promise, unsubscribe } = this.#nextEnd(id);
    try {
      for (;;) {
        const job = await this.queue.get(id);
        if (!job) throw new Refusal(404, "NOT_FOUND", "there is no such job");
        if (hasEnded(job)) return job;
        const late = new Promise<void>((resolve) => setTimeout(resolve, LOOK_MS).unref());
        const ended = await Promise.race([promise, late]);
        if (ended) return ended;
      }
    } finally {
      unsubscribe();
    }
  }

  #nextEnd(id: string): { promise: Promise<Job>; unsubscribe: () => void } {
    let unsubscribe = () => {};
    const promise = new Promise<Job>((resolve) => {
      unsubscribe = this.queue.subscribe(({ job }) => {
        if (job.id === id && hasEnded(job)) resolve(job);
      });
    });
    return { promise, unsubscribe };
  }

  /**
   * Leaves out the picture that is being made, of the given job or of all that run.
   *
   * @param keep as it is by then, in place of leaving it out
   */
  skip(id?: string, { keep = false } = {}): void {
    this.#running.skip(id, keep);
    const { ids } = this.#running;
    const elsewhere = id === undefined ? [...this.#attended] : [id];
    for (const id of elsewhere) if (!ids.has(id)) void this.queue.skip?.(id, keep).catch(() => {});
  }

  /**
   * Ends every running job. Pictures that are finished stay with it, and so does the one that is being made, as it is by
   * then.
   */
  async interrupt(): Promise<void> {
    this.#running.interrupt();
    const attended = await Promise.all([...this.#attended].map((id) => this.queue.get(id)));
    const elsewhere = attended.flatMap((job) => (job?.status === "running" ? [job.id] : []));
    const { ids } = this.#running;
    await Promise.all(elsewhere.map((id) => ids.has(id) || this.queue.interrupt?.(id)));
  }

  /** The same of one job, here or elsewhere. */
  async interruptOne(id: string): Promise<void> {
    if (this.#running.ids.has(id)) this.#running.interrupt(id);
    else await this.queue.interrupt?.(id);
  }

  /**
   * Takes no more jobs and waits for those that run. What still runs near the end of `graceMs` is stopped; if nobody
   * waits for it, the journal has it run again at the next start. It takes no longer than that, also where the queue
   * does not answer: then a lock that runs out gives the job to others.
   */
  async close(graceMs: number): Promise<void> {
    const reason = closing();
    const end = performance.now() + graceMs;
    /** For what is to be told and written at the end. */
    const reserve = Math.min(3000, graceMs / 3);
    const before = (time: number, done: Promise<unknown>) =>
      Promise.race([done, sleep(Math.max(100, time - performance.now()), undefined, { ref: false })]);
    this.#stop.abort(reason);
    await before(performance.now() + reserve, this.#cancelWaiting());
    const elsewhere = this.#elsewhere().map((id) => this.ended(id));
    await before(end - reserve, Promise.allSettled([this.#running.settled(), ...elsewhere]));
    this.#running.stop(reason);
    for (const id of this.#elsewhere()) void this.#turnAway(id).catch(() => {});
    await before(end - reserve / 3, this.#running.settled());
    await before(end, this.queue.close());
  }

  /** Those who wait for a job that has not begun are told at once. */
  async #cancelWaiting(): Promise<void> {
    const attended = await Promise.all([...this.#attended].map((id) => this.queue.get(id))).catch(() => []);
    const waiting = attended.flatMap((job) => (job?.status === "queued" ? [job.id] : []));
    await Promise.allSettled(waiting.map((id) => this.#turnAway(id)));
  }

  #turnAway(id: string): Promise<Job | undefined> {
    this.#turnedAway.add(id);
    return this.queue.cancel(id);
  }

  /** Jobs that somebody waits for here and that do not run here. */
  #elsewhere(): string[] {
    const { ids } = this.#running;
    return [...this.#attended].filter((id) => !ids.has(id));
  }
}

const closing = (): Refusal =>
  new Refusal(503, "CLOSING", "the server is shutting down", { headers: { "Retry-After": "10" } });
