import { Refusal } from "../refusal.js";
import type { StoredRequest } from "../requests/request.js";

/**
 * The contract between those who accept jobs and those who run them. The default keeps jobs in this process with a
 * journal on disk (`local.ts`); a broker such as Redis can stand behind the same interface: nothing here is
 * shared memory, a job and its outcome are JSON, pictures are named by the hash of their content.
 */
export interface JobQueue {
  /**
   * Accepts a job for good: when the promise resolves, it survives a crash. An id that is known already gives the
   * job that it names.
   *
   * 503 means that it is not accepted: what arrives after the time for an answer is taken back, unless the job is
   * `keyed`, whose client asks again under the same id and then gets it.
   *
   * @throws Refusal 429 when too many jobs wait, 503 when the queue is closing or does not answer
   */
  enqueue(job: NewJob, options?: { readonly keyed?: boolean }): Promise<Job>;
  get(id: string): Promise<Job | undefined>;
  /** Newest first. No more jobs are read than the answer needs. */
  list(filter?: JobFilter): Promise<readonly Job[]>;
  /**
   * By each of the given pictures that a job shows or starts from: the ids of those jobs. What others there are is not
   * looked at.
   */
  jobsWith(pictures: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Jobs that run or wait in front of a waiting one; 0 for those that run. */
  position(id: string): Promise<number | undefined>;
  /**
   * Waits for the oldest job of a lane that is accepted, and takes it.
   *
   * @throws the signal's reason
   */
  claim(accepts: (lane: string) => boolean, signal: AbortSignal): Promise<Claim>;
  /** Ends a waiting job, and asks the one who runs it to stop. Undefined for unknown jobs. */
  cancel(id: string): Promise<Job | undefined>;
  /** Lets a waiting job be the next one, whatever came before it. False for one that does not wait. */
  first(id: string): Promise<boolean>;
  /** Ends the picture of a job that is being made by another process. @param keep as it is by then, in place of leaving it out */
  skip?(id: string, keep: boolean): Promise<void>;
  /** Ends a job that another process runs with what there is by then. Absent where this process runs all of them. */
  interrupt?(id: string): Promise<void>;
  /**
   * The same for those who ask again and again: what was read up to 200 ms ago, unless it was changed through here.
   * Absent where reading costs nothing.
   */
  readonly recent?: Pick<JobQueue, "get" | "list" | "position">;
  /** Processes elsewhere that take jobs, as far as they have been heard of lately. Absent where this one does. */
  workers?(): Promise<readonly WorkerInfo[]>;
  /** How each lane stands that has or had jobs. */
  lanes(): Promise<readonly LaneState[]>;
  /** @throws Refusal 503 where no job could be accepted now */
  probe?(): Promise<void>;
  /** Forgets a job that has ended. */
  remove(id: string): Promise<boolean>;
  /** Tells every change of every job, in order, until the returned function is called. */
  subscribe(listener: (event: QueueEvent) => void): () => void;
  counts(): Promise<Readonly<Record<JobStatus, number>>>;
  close(): Promise<void>;
}

/** A job that has been taken, for the one who runs it. At most one claim of a job is alive. */
export interface Claim {
  readonly job: Job;
  /** Aborted when the job is cancelled, or when the claim has been lost: then nothing may be published. */
  readonly signal: AbortSignal;
  /** Aborted when another process asks for what there is by then; absent where no other one can. */
  readonly interrupted?: Interrupted;
  /** Keeps the claim alive and tells how far the job is. */
  heartbeat(progress: JobProgress): Promise<void>;
  finish(outcome: Outcome): Promise<Job>;
  /**
   * Gives the job back to be tried again, unless it has been tried `maxAttempts` times: then it has failed. An attempt
   * that ended by no fault of the job does not count.
   */
  release(reason: JobError): Promise<Job>;
}

/** What is to end as it is: the whole job, or the picture that is being made. */
export type Interruption = "job" | "picture";
/** A signal whose reason is an `Interruption`. */
export type Interrupted = AbortSignal & { readonly reason: Interruption };

/** The reason of a claim's signal when its job was cancelled. */
export const cancelled = new Refusal(499, "CANCELLED", "the job was cancelled");

/** Why a job is given back that says nothing about the job: a worker that stops, a store of pictures that is away. */
export const isNoFault = ({ code }: JobError): boolean => code === "CLOSING" || code === "STORAGE";

/** A job that kills the process that runs it must not do so for ever. */
export const maxAttempts = 2;

export type JobStatus = "queued" | "running" | "completed" | "failed" | "cancelled" | "lost";
export const jobStatuses = ["queued", "running", "completed", "failed", "cancelled", "lost"] as const;
export const hasEnded = ({ status }: Pick<Job, "status">): boolean =>
  status !== "queued" && status !== "running";

export interface NewJob {
  readonly id: string;
  /** Jobs of one lane never run at the same time: the model with its precision. */
  readonly lane: string;
  readonly request: StoredRequest;
  /** Somebody waits for the answer: without them it is not worth running, as after a restart. */
  readonly attended: boolean;
  /** The client's own name for it (`force_task_id`). */
  readonly task?: string;
  /** Which API it came through. */
  readonly via: "native" | "sdapi" | "openai";
}

export interface Job extends NewJob {
  readonly status: JobStatus;
  readonly attempt: number;
  /** The process that runs it, or ran it last. */
  readonly worker?: string;
  /** Workers that have left it to others, as they lack a file that it names. */
  readonly passedBy?: readonly string[];
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly started?: number;
  readonly finished?: number;
  /** Of a running job; not kept. */
  readonly progress?: JobProgress;
  /** Also of cancelled jobs: what was finished by then. */
  readonly result?: JobResult;
  readonly error?: JobError;
}

export interface JobProgress {
  readonly phase: "load" | "encode" | "denoise" | "decode";
  /** What is being downloaded, converted or loaded. */
  readonly what?: string;
  /** 0-based picture of `images`. */
  readonly image: number;
  readonly images: number;
  /** Network calls of all pictures: `step` of `steps` are done. */
  readonly step: number;
  readonly steps: number;
  /** 0 to 1. */
  readonly share: number;
  readonly etaMs?: number;
  /** Base64 of a small PNG: what the picture looks like by now. */
  readonly preview?: string;
  /** Pictures that are finished already. */
  readonly finished?: readonly JobImage[];
}

export interface JobImage {
  /** Key of the image store. */
  readonly key: string;
  readonly width: number;
  readonly height: number;
  /** Whole number in decimal: it may not fit a JSON number. */
  readonly seed?: string;
  /** The parameters text inside the PNG. */
  readonly parameters: string;
  /** What its owner should know of: what was assumed of the model, or what of the request had no effect. */
  readonly notes?: readonly string[];
  /** Of a job in parts, which have workers of their own: who made this one, at which attempt. */
  readonly worker?: string;
  readonly attempt?: number;
}

export interface JobResult {
  readonly images: readonly JobImage[];
  readonly width: number;
  readonly height: number;
  readonly ms: StageMs;
}

/** Milliseconds by stage. */
export interface StageMs {
  readonly encode: number;
  readonly denoise: number;
  readonly decode: number;
  /** Of jobs that enlarge a picture. */
  readonly upscale?: number;
}

/** What keeps a worker from a job that others may take. */
export interface Lack {
  readonly error: JobError;
  /** When nobody has it, the job is made without it. */
  readonly dispensable: boolean;
}

export interface JobError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export type Outcome =
  | { readonly status: "completed"; readonly result: JobResult }
  | { readonly status: "cancelled"; readonly result?: JobResult }
  | { readonly status: "failed"; readonly error: JobError; readonly result?: JobResult };

export interface QueueEvent {
  readonly type: "status" | "progress" | "removed";
  readonly job: Job;
}

/** A process that takes jobs. */
export interface WorkerInfo {
  readonly name: string;
  readonly lanes: readonly string[];
}

export interface LaneState {
  readonly lane: string;
  /** Jobs and parts of jobs. */
  readonly waiting: number;
  readonly running: number;
  /** Milliseconds since 1970 at which the oldest of those that wait was accepted. */
  readonly oldest?: number;
  /** How often a job or a part has begun to run, and how many are lost, since the queue was made. */
  readonly attempts: number;
  readonly lost: number;
}

export interface JobFilter {
  readonly status?: readonly JobStatus[];
  readonly task?: string;
  /** Only those of these ids. */
  readonly among?: readonly string[];
  /** Only jobs older than this one. */
  readonly before?: string;
  readonly limit?: number;
}
