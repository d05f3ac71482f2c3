import { DiffusionError } from "../../index.js";
import type { Interruption, JobResult } from "../queue/queue.js";
import { Refusal } from "../refusal.js";

/** What was asked of the job that runs, or ran last: the web UI's state of that name. */
export interface Interruptions {
  readonly interrupted: boolean;
  readonly skipped: boolean;
}

/** Signals for one picture. */
export interface Skippable {
  /** Aborted when only this picture is to be left out. */
  readonly skip: AbortSignal;
  /** Aborted when it is to stay as it is by then. */
  readonly finish: AbortSignal;
}

/** The ways in which a job that runs here can be told to end. */
export class RunningJob {
  /** Fails it. */
  readonly stop = new AbortController();
  /** Ends it with what there is by then, the picture that is being made included. */
  readonly finish = new AbortController();
  #skip = new AbortController();
  #finishOne = new AbortController();

  /** Ends the picture that is being made. @param keep as it is by then, in place of leaving it out */
  endPicture(keep: boolean): void {
    (keep ? this.#finishOne : this.#skip).abort();
  }

  /** Ends it, or the picture that is being made, as it is by then. */
  end(what: Interruption): void {
    if (what === "job") this.finish.abort();
    else this.endPicture(true);
  }

  nextPicture(): Skippable {
    this.#skip = new AbortController();
    this.#finishOne = new AbortController();
    return {
      skip: this.#skip.signal,
      finish: AbortSignal.any([this.finish.signal, this.#finishOne.signal]),
    };
  }
}

/** How the work on a job has ended. */
export type WorkEnd = (
  | { readonly result: JobResult }
  | { readonly error: unknown; readonly partial: JobResult | undefined }
) & {
  /** It was told to end with what there is. */
  readonly interrupted: boolean;
  /** Aborted by whoever cancelled the job or took it away, and by `stopped`. */
  readonly signal: AbortSignal;
  /** Aborted when this process stops, or the job has taken too long. */
  readonly stopped: AbortSignal;
};

/** The stack of what can only be our mistake, for the log. */
export const internals = (error: unknown): string => {
  const known = error instanceof DiffusionError || error instanceof Refusal;
  return known || !(error instanceof Error) ? "" : `\n${error.stack}`;
};
