import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { DiffusionError } from "../../index.js";
import { type JobEvent, type Log, logProblem } from "../log.js";
import {
  type Claim,
  hasEnded,
  type Job,
  type JobImage,
  type JobProgress,
  type JobQueue,
  type JobResult,
  type NewJob,
  type Outcome,
} from "../queue/queue.js";
import { errorOf, Refusal } from "../refusal.js";
import { storageAway } from "../storage/store.js";
import { orGivenUp } from "./given-up.js";
import { type Interruptions, internals, RunningJob, type Skippable, type WorkEnd } from "./running-job.js";
import { toldBy } from "./told.js";

/** What a job does. It hands over each picture as it is finished, so that a cancelled job keeps them. */
export type Work = (job: Job, hooks: WorkHooks) => Promise<WorkResult>;
export type WorkResult = Omit<JobResult, "images">;

export interface WorkHooks {
  readonly signal: AbortSignal;
  /** Signals for one picture. */
  skippable(): Skippable;
  /** Aborted when the job is to end with what there is by then, the picture that is being made included. */
  readonly finish: AbortSignal;
  progress(progress: JobProgress): void;
  finished(image: JobImage): void;
}

export interface JobsOptions {
  /** Jobs that run at the same time; jobs of one model never do. Default 1: the processor is shared anyway. */
  readonly parallel?: number;
  /** Milliseconds after which a running job fails. */
  readonly jobMs: number;
  /** Jobs of one client that may wait; default: as many as the queue takes. */
  readonly queuedPerClient?: number;
  /** For errors that no client sees whole. */
  readonly log: Log;
  /** Told when a job starts here and when it ends. */
  readonly onJob?: (event: JobEvent) => void;
  /** Other processes take jobs from the same queue: what is stopped here is given back to them. */
  readonly shared?: boolean;
  /** Waits until pictures can be kept again, after they could not. */
  readonly reachable?: ((signal: AbortSignal) => Promise<void>) | undefined;
}

/** How often those who wait look for themselves, in case a shared queue's events were lost. */
const LOOK_MS = 10_000;

/** A job on its way in, and who sends it: an address, for the limit of each client. */
export type Sent<T> = T & {
  readonly client?: string | undefined;
  /** Its id is made of a key of the client's, who asks again with it. */
  readonly keyed?: boolean;
};

/** Accepts jobs, runs them one after the other, and tells those who wait. */
export class Jobs {
  readonly queue: JobQueue;
  readonly #work: Work;
  readonly #options: JobsOptions;
  readonly #running = new Map<string, RunningJob>();
  readonly #busyLanes = new Set<string>();
  /** Jobs that somebody waits for here. */
  readonly #attended = new Set<string>();
  readonly #computing = new Set<Promise<void>>();
  /** Jobs that were taken and whose end is not written yet. */
  readonly #active = new Set<Promise<void>>();
  /** Clients of the jobs that were accepted here and wait. */
  readonly #waiting = new Map<string, string>();
  #admitted: (() => void) | undefined;
  #interruptions: Interruptions = { interrupted: false, skipped: false };
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(queue: JobQueue, work: Work, options: JobsOptions) {
    this.queue = queue;
    this.#work = work;
    this.#options = options;
  }

  /** Whether it takes no more jobs. */
  get closing(): boolean {
    return this.#stop.signal.aborted;
  }

  get interruptions(): Interruptions {
    return this.#interruptions;
  }

  /** Begins to take jobs from the queue. */
  start(): void {
    this.#loop ??= this.#takeJobs();
  }

  /** @throws Refusal 429 when the queue, or the client's part of it, is full; 503 during shutdown */
  async submit({ client, keyed = false, ...job }: Sent<Omit<NewJob, "id"> & { id?: string }>): Promise<Job> {
    if (this.#stop.signal.aborted) throw new Refusal(503, "CLOSING", "the server is shutting down");
    const id = job.id ?? randomUUID();
    // Where others run it, nothing here says when it begins.
    if (!this.#loop) this.#interruptions = { interrupted: false, skipped: false };
    if (client !== undefined) this.#admit(id, client);
    try {
      const accepted = await this.queue.enqueue({ ...job, id }, { keyed });
      if (accepted.status !== "queued") this.#waiting.delete(id);
      return accepted;
    } catch (error) {
      this.#waiting.delete(id);
      throw error;
    }
  }

  /** Counts a job before it is accepted, so that many at the same moment are counted as well. */
  #admit(id: string, client: string): void {
    const { queuedPerClient = Number.POSITIVE_INFINITY } = this.#options;
    const waiting = [...this.#waiting.values()].filter((other) => other === client).length;
    if (waiting >= queuedPerClient)
      throw new Refusal(429, "TOO_MANY", `${waiting} jobs of yours are waiting already`, {
        hint: "try again when some of them are done",
        headers: { "Retry-After": "10" },
      });
    this.#waiting.set(id, client);
    // Who only runs jobs, as a worker does, has no need to hear of all that others run.
    this.#admitted ??= this.queue.subscribe(({ job }) => {
      if (job.status !== "queued") this.#waiting.delete(job.id);
    });
  }

  /** Submits a job for somebody who waits for it: when they leave (`signal`), it is cancelled. */
  async run(
    job: Sent<Omit<NewJob, "id" | "attended">>,
    signal: AbortSignal,
    onChange: (job: Job) => void = () => {},
  ): Promise<Job> {
    const id = randomUUID();
    const unsubscribe = this.queue.subscribe((event) => {
      if (event.job.id === id) onChange(event.job);
    });
    const leave = () => void this.queue.cancel(id).catch(() => {});
    signal.addEventListener("abort", leave);
    this.#attended.add(id);
    try {
      await this.submit({ ...job, id, attended: true });
      if (signal.aborted) leave();
      return await this.ended(id);
    } finally {
      signal.removeEventListener("abort", leave);
      this.#attended.delete(id);
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
   * @param keep as it is by then, in place of leaving it out; jobs that run elsewhere leave it out
   */
  skip(id?: string, { keep = false } = {}): void {
    this.#interruptions = { ...this.#interruptions, skipped: true };
    for (const [of, running] of this.#running) if (id === undefined || id === of) running.endPicture(keep);
    const elsewhere = id === undefined ? [...this.#attended] : [id];
    for (const id of elsewhere) if (!this.#running.has(id)) void this.queue.skip?.(id).catch(() => {});
  }

  /**
   * Ends every running job. Pictures that are finished stay with it, and so does the one that is being made, as it is by
   * then; of jobs that run elsewhere only the former.
   */
  async interrupt(): Promise<void> {
    this.#interruptions = { ...this.#interruptions, interrupted: true };
    for (const { finish } of this.#running.values()) finish.abort();
    const attended = await Promise.all([...this.#attended].map((id) => this.queue.get(id)));
    const elsewhere = attended.flatMap((job) => (job?.status === "running" ? [job.id] : []));
    await Promise.all(elsewhere.map((id) => this.#running.has(id) || this.queue.cancel(id)));
  }

  /**
   * Takes no more jobs and waits for those that run. What still runs near the end of `graceMs` is stopped; if nobody
   * waits for it, the journal has it run again at the next start. It takes no longer than that, also where the queue
   * does not answer: then a lock that runs out gives the job to others.
   */
  async close(graceMs: number): Promise<void> {
    const reason = new Refusal(503, "CLOSING", "the server is shutting down");
    const end = performance.now() + graceMs;
    /** For what is to be told and written at the end. */
    const reserve = Math.min(3000, graceMs / 3);
    const before = (time: number, done: Promise<unknown>) =>
      Promise.race([done, sleep(Math.max(100, time - performance.now()), undefined, { ref: false })]);
    this.#stop.abort(reason);
    await before(performance.now() + reserve, this.#cancelWaiting());
    const elsewhere = [...this.#attended].filter((id) => !this.#running.has(id)).map((id) => this.ended(id));
    await before(end - reserve, Promise.allSettled([this.#loop, ...this.#active, ...elsewhere]));
    for (const { stop } of this.#running.values()) stop.abort(reason);
    for (const id of this.#attended) if (!this.#running.has(id)) void this.queue.cancel(id).catch(() => {});
    await before(end - reserve / 3, Promise.allSettled([this.#loop, ...this.#active]));
    await before(end, this.queue.close());
  }

  /** Those who wait for a job that has not begun are told at once. */
  async #cancelWaiting(): Promise<void> {
    const attended = await Promise.all([...this.#attended].map((id) => this.queue.get(id))).catch(() => []);
    const waiting = attended.flatMap((job) => (job?.status === "queued" ? [job.id] : []));
    await Promise.allSettled(waiting.map((id) => this.queue.cancel(id)));
  }

  async #takeJobs(): Promise<void> {
    const { parallel = 1 } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      while (this.#computing.size >= parallel) await Promise.race(this.#computing);
      // The work would be done in vain.
      await this.#options.reachable?.(signal);
      if (signal.aborted) return;
      const claim = await this.queue
        .claim((lane) => !this.#busyLanes.has(lane), signal)
        .catch((error: unknown) => {
          if (!signal.aborted) throw error;
        });
      if (!claim) return;
      const began = performance.now();
      this.#options.onJob?.({ job: claim.job, status: "started" });
      // The next job is taken while what became of this one is still on its way to the disk.
      const computed = this.#compute(claim);
      const free = () => void this.#computing.delete(computing);
      const computing: Promise<void> = computed.then(free, free);
      this.#computing.add(computing);
      const done = computed
        .then((end) => this.#tellEnd(claim, end))
        .then((status) => {
          const durationMs = performance.now() - began;
          this.#options.onJob?.({ job: claim.job, status, durationMs });
        })
        .catch((error: unknown) => logProblem(this.#options.log, "error", claim.job, errorOf(error).message))
        .finally(() => this.#active.delete(done));
      this.#active.add(done);
    }
  }

  async #compute(claim: Claim): Promise<WorkEnd> {
    const { job } = claim;
    const running = new RunningJob();
    this.#interruptions = { interrupted: false, skipped: false };
    const timeout = setTimeout(
      () => running.stop.abort(new Refusal(504, "TIMEOUT", "the job took longer than the server allows")),
      this.#options.jobMs,
    );
    const signal = AbortSignal.any([claim.signal, running.stop.signal]);
    this.#running.set(job.id, running);
    this.#busyLanes.add(job.lane);
    const { images, progress, finished } = toldBy(claim, () => this.#running.get(job.id) === running);
    const hooks: WorkHooks = {
      signal,
      finish: running.finish.signal,
      skippable: () => {
        this.#interruptions = { ...this.#interruptions, skipped: false };
        return running.nextPicture();
      },
      progress,
      finished,
    };
    // Cancelled while it was being taken: not even begun.
    const result = signal.aborted ? Promise.reject(signal.reason) : this.#work(job, hooks);
    const [settled] = await Promise.allSettled([orGivenUp(result, signal)]);
    clearTimeout(timeout);
    this.#running.delete(job.id);
    this.#busyLanes.delete(job.lane);
    const { signal: stopped } = running.stop;
    const how = { interrupted: running.finish.signal.aborted, signal, stopped };
    if (settled.status === "fulfilled" && !signal.aborted)
      return { result: { ...settled.value, images }, ...how };
    const [first] = images;
    const ms = { encode: 0, denoise: 0, decode: 0 };
    const partial = first && { images, width: first.width, height: first.height, ms };
    const error = settled.status === "fulfilled" ? signal.reason : settled.reason;
    return { error, partial, ...how };
  }

  /** @returns how the job stands then */
  async #tellEnd(claim: Claim, end: WorkEnd): Promise<Job["status"]> {
    if ("result" in end) {
      const { interrupted, result } = end;
      return (await claim.finish({ status: interrupted ? "cancelled" : "completed", result })).status;
    }
    const { error, partial, interrupted, signal, stopped } = end;
    const { job } = claim;
    const kept = partial ? { result: partial } : {};
    const { shared = false } = this.#options;
    if (this.#stop.signal.aborted && stopped.aborted && (shared || !job.attended)) {
      // A journal says that it runs: the next start takes it up again.
      if (shared) await claim.release(errorOf(stopped.reason));
      return "queued";
    }
    const again = shared || !job.attended;
    const away = error instanceof Refusal && error.code === storageAway;
    const died = error instanceof DiffusionError && error.code === "WORKER";
    if ((away || died) && !signal.aborted && again) {
      const { status } = await claim.release(errorOf(error));
      const then = status === "queued" ? "; it is tried once more" : "";
      logProblem(this.#options.log, "warn", job, `${errorOf(error).message}${then}`);
      return status;
    }
    const outcome: Outcome =
      (signal.aborted || interrupted) && !stopped.aborted
        ? { status: "cancelled", ...kept }
        : { status: "failed", error: errorOf(stopped.aborted ? stopped.reason : error), ...kept };
    const { code, message } = errorOf(error);
    if (outcome.status === "failed")
      logProblem(this.#options.log, "error", job, `${code} ${message}${internals(error)}`);
    return (await claim.finish(outcome)).status;
  }
}
