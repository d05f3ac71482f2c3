import type { ModelOption, ModelState, Precision } from "../server/jobs/models.js";
import type { Preparation } from "../server/jobs/prepare.js";
import type { JobImage, JobProgress, JobStatus } from "../server/queue/queue.js";

/** What the server tells, as the page reads it. */
export interface ModelEntry {
  readonly label: string;
  readonly name: string;
  readonly precision: Precision;
  readonly origin: "included" | "folder" | "prepared";
  readonly kind: ModelOption["info"]["kind"];
  readonly size: number;
  readonly factor: number;
  readonly scheduler: string;
  readonly state: ModelState;
  readonly current: boolean;
}

export interface ModelList {
  readonly models: readonly ModelEntry[];
  readonly unusable: readonly { readonly name: string; readonly problem: string }[];
  readonly precisions: readonly {
    readonly id: Precision;
    readonly label: string;
    readonly available: boolean;
  }[];
  readonly preparation?: Preparation;
}

export interface SchedulerList {
  readonly schedulers: readonly {
    readonly name: string;
    readonly label: string;
    readonly className?: string;
    readonly takesSchedule: boolean;
  }[];
  readonly scheduleTypes: readonly string[];
}

export interface ShownImage extends JobImage {
  readonly url: string;
}

/** A request as it comes back: pictures are addresses. */
export type ShownRequest = Readonly<Record<string, unknown>> & {
  readonly kind: "generate" | "upscale";
  readonly image?: { readonly url: string };
  /** In its place: picture i starts from number i, after the last from the first. */
  readonly images?: readonly { readonly url: string }[];
  readonly mask?: { readonly url: string };
  readonly controlnet?: readonly {
    readonly model: string;
    readonly image: { readonly url: string };
    readonly preprocess?: unknown;
    readonly scale?: number;
    readonly start?: number;
    readonly end?: number;
  }[];
};

export interface ShownJob {
  readonly id: string;
  readonly status: JobStatus;
  readonly model: string;
  readonly created: number;
  readonly started?: number;
  readonly finished?: number;
  readonly position?: number;
  readonly progress?: JobProgress;
  readonly request: ShownRequest;
  readonly result?: {
    readonly images: readonly ShownImage[];
    readonly width: number;
    readonly height: number;
  };
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
}

/** An answer that is an error, in the words of the server. */
export class ServerError extends Error {}

export async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(path, {
    method,
    ...(body !== undefined && {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  if (answer.status === 204) return undefined as T;
  const value: unknown = await answer.json().catch(() => undefined);
  if (answer.ok) return value as T;
  throw new ServerError(messageOf(value) ?? `${answer.status} ${answer.statusText}`);
}

function messageOf(value: unknown): string | undefined {
  const { error, detail } = (value ?? {}) as {
    error?: { message?: string; hint?: string };
    detail?: unknown;
  };
  if (typeof detail === "string") return detail;
  return error?.message && (error.hint ? `${error.message} (${error.hint})` : error.message);
}

/** Follows a job until it has ended. @returns what stops following */
export function followJob(id: string, onJob: (job: ShownJob) => void, onLost: () => void): () => void {
  const events = new EventSource(`/jobs/${id}/events`);
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data) as ShownJob;
    onJob(job);
    if (job.status !== "queued" && job.status !== "running") events.close();
  });
  // The browser connects again by itself, unless the server says that there is nothing.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) onLost();
  });
  return () => events.close();
}
