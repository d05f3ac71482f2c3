import { createHash } from "node:crypto";
import { seedsOfPicture } from "../../index.js";
import { gridCells } from "../requests/grid.js";
import { parseSeed, type StoredGenerate, startOf } from "../requests/request.js";
import type { Job, JobProgress, JobResult, NewJob, Outcome } from "./queue.js";

/** A job whose pictures are made by jobs of their own, and one of those. */
export interface Sharded {
  /** Of the whole: how many parts it has. */
  readonly shards?: number;
  /** Of a part: the whole, and which of its pictures this is. */
  readonly shard?: { readonly of: string; readonly index: number };
}

export const shardId = (id: string, index: number): string => `${id}.${index}`;
/** The job that an id is of a part of, if it is. */
export const wholeOf = (id: string): string | undefined => /^(.+)\.\d+$/.exec(id)?.[1];

/**
 * One job for each picture of a request or cell of its grid, with the seeds that one job would have used; nothing for a single picture.
 * A seed that was not given is made from the job's id: whoever splits it gets the same.
 */
export function splitJob(job: NewJob): readonly (NewJob & Sharded)[] {
  const { request } = job;
  if (request.kind !== "generate" || (request.count === 1 && !request.grid)) return [];
  const first = request.seed ?? createHash("sha256").update(job.id).digest().readUInt32BE();
  const variation = request.variation && {
    ...request.variation,
    seed:
      request.variation.seed ?? createHash("sha256").update(`${job.id} variation`).digest().readUInt32BE(),
  };
  const { grid, ...plain } = request;
  const parts = grid
    ? gridCells({ ...request, seed: first, ...(variation && { variation }) })
    : Array.from(
        { length: request.count },
        (_, index): StoredGenerate => ({
          ...startOf(plain, index),
          count: 1,
          ...seedsOf(index, first, variation),
        }),
      );
  return parts.map((part, index) => ({
    ...job,
    id: shardId(job.id, index),
    request: part,
    shard: { of: job.id, index },
  }));
}

/** Of one picture, as they are stored. */
function seedsOf(
  index: number,
  seed: number | string,
  variation: { readonly seed: number | string; readonly strength: number } | undefined,
): Pick<StoredGenerate, "seed" | "variation"> {
  const seeding = {
    seed: parseSeed(seed),
    ...(variation && { variation: { ...variation, seed: parseSeed(variation.seed) } }),
  };
  const own = seedsOfPicture(seeding, index);
  return {
    seed: String(own.seed),
    ...(own.variation && { variation: { ...own.variation, seed: String(own.variation.seed) } }),
  };
}

/**
 * How the whole ended, from parts that have all ended, with the worker and attempt of the part that failed. Parts
 * cancelled one by one are pictures left out.
 */
export function joinOutcomes(
  parts: readonly Job[],
  cancelled: boolean,
): Outcome & Partial<Pick<Job, "worker" | "attempt">> {
  const result = joinResults(parts);
  const kept = result.images.length > 0 ? { result } : {};
  if (cancelled) return { status: "cancelled", ...kept };
  const bad = parts.find(({ status }) => status === "failed" || status === "lost");
  if (!bad) return { status: "completed", result };
  const error = bad.error ?? { code: "LOST", message: "a part of this job was lost" };
  const { worker, attempt } = bad;
  return { status: "failed", error, attempt, ...(worker !== undefined && { worker }), ...kept };
}

function joinResults(parts: readonly Job[]): JobResult {
  const results = parts.flatMap(({ result }) => (result ? [result] : []));
  const sum = (key: "encode" | "denoise" | "decode") => results.reduce((all, { ms }) => all + ms[key], 0);
  return {
    images: parts.flatMap(({ result, worker, attempt }) =>
      (result?.images ?? []).map((image) => ({ ...image, attempt, ...(worker !== undefined && { worker }) })),
    ),
    width: results.at(-1)?.width ?? 0,
    height: results.at(-1)?.height ?? 0,
    ms: { encode: sum("encode"), denoise: sum("denoise"), decode: sum("decode") },
  };
}

/** Progress of the whole from that of the parts that have begun. */
export function joinProgress(parts: readonly JobProgress[], shards: number): JobProgress | undefined {
  const [first] = parts;
  if (!first || shards === 1) return first;
  const sum = (of: (part: JobProgress) => number) => parts.reduce((all, part) => all + of(part), 0);
  const latest = parts.find(({ share }) => share < 1) ?? first;
  const finished = parts.flatMap(({ finished = [] }) => finished);
  const steps = Math.round((sum(({ steps }) => steps) / parts.length) * shards);
  return {
    phase: latest.phase,
    image: Math.min(shards - 1, parts.filter(({ share }) => share >= 1).length),
    images: shards,
    step: sum(({ step }) => step),
    steps,
    share: sum(({ share }) => share) / shards,
    ...(finished.length > 0 && { finished }),
  };
}
