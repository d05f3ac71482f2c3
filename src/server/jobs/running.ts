import { DiffusionError } from "../../index.js";
import { type JobEvent, type Log, logProblem } from "../log.js";
import type { Claim, Job, JobImage, JobProgress, JobQueue, JobResult, Outcome } from "../queue/queue.js";
import { errorOf, publicErrorOf, Refusal } from "../refusal.js";
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

export interface RunningOptions {
  /** Jobs that run at the same time; jobs of one model never do. Default 1: the processor is shared anyway. */
  readonly parallel?: number;
  /** Milliseconds after which a running job fails. */
  readonly jobMs: number;
  /** For errors that no client sees whole. */
  readonly log: Log;
  /** Told when a job starts here and when it ends. */
  readonly onJob?: (event: JobEvent) => void;
  /** Other processes take jobs from the same queue: what is stopped here is given back to them. */
  readonly shared?: boolean;
  /** Waits until pictures can be kept again, after they could not. */
  readonly reachable?: ((signal: AbortSignal) => Promise<void>) | undefined;
}

/** Takes jobs from the queue, one after the other, and runs them. */
export class Running {
  readonly #queue: JobQueue;
  readonly #work: Work;
  readonly #options: RunningOptions;
  /** Aborted when no more jobs are to be taken. */
  readonly #closing: AbortSignal;
  readonly #running = new Map<string, RunningJob>();
  readonly #busyLanes = new Set<string>();
  readonly #computing = new Set<Promise<void>>();
  /** Jobs that were taken and whose end is not written yet. */
  readonly #active = new Set<Promise<void>>();
  #interruptions: Interruptions = { interrupted: false, skipped: false };
  #loop: Promise<void> | undefined;

  constructor(queue: JobQueue, work: Work, options: RunningOptions, closing: AbortSignal) {
    this.#queue = queue;
    this.#work = work;
    this.#options = options;
    this.#closing = closing;
  }

  start(): void {
    this.#loop ??= this.#takeJobs();
  }

  /** Of the jobs that run here. */
  get ids(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  get interruptions(): Interruptions {
    return this.#interruptions;
  }

  /** Where others run what is submitted here, nothing here says when it begins. */
  submitted(): void {
    if (!this.#loop) this.#interruptions = { interrupted: false, skipped: false };
  }

  /** Ends the picture that is being made, of the given job or of all. @param keep in place of leaving it out */
  skip(id: string | undefined, keep: boolean): void {
    this.#interruptions = { ...this.#interruptions, skipped: true };
    for (const [of, running] of this.#running) if (id === undefined || id === of) running.endPicture(keep);
  }

  /** Ends the given job, or all, with what there is by then. */
  interrupt(id?: string): void {
    this.#interruptions = { ...this.#interruptions, interrupted: true };
    for (const [of, { finish }] of this.#running) if (id === undefined || id === of) finish.abort();
  }

  /** Stops all jobs. */
  stop(reason: Refusal): void {
    for (const { stop } of this.#running.values()) stop.abort(reason);
  }

  /** What was taken has ended, and that is written. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#loop, ...this.#active]);
  }

  async #takeJobs(): Promise<void> {
    const { parallel = 1 } = this.#options;
    const signal = this.#closing;
    while (!signal.aborted) {
      while (this.#computing.size >= parallel) await Promise.race(this.#computing);
      // The work would be done in vain.
      await this.#options.reachable?.(signal);
      if (signal.aborted) return;
      const claim = await this.#queue
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
    claim.interrupted?.addEventListener("abort", () => running.end(claim.interrupted!.reason));
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
    if (this.#closing.aborted && stopped.aborted && (shared || !job.attended)) {
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
        : { status: "failed", error: publicErrorOf(stopped.aborted ? stopped.reason : error), ...kept };
    const { code, message } = errorOf(error);
    if (outcome.status === "failed")
      logProblem(this.#options.log, "error", job, `${code} ${message}${internals(error)}`);
    return (await claim.finish(outcome)).status;
  }
}
