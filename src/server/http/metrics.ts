import { readdirSync } from "node:fs";
import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { type JobQueue, jobStatuses, type LaneState, type StageMs, type WorkerInfo } from "../queue/queue.js";

/** Upper bounds of the buckets in seconds: a step of a small model to a picture of a large one. */
const buckets = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/** Counts what happens, for Prometheus. */
export interface Metrics {
  readonly count: MiddlewareHandler;
  /** In Prometheus' text format. */
  text(): Promise<string>;
}

export function createMetrics(queue: JobQueue): Metrics {
  const requests = new Map<string, number>();
  const ended = new Map<string, number>();
  const stages = new Map<string, Required<StageMs>>();
  const histogram = buckets.map(() => 0);
  let total = 0;
  let seconds = 0;
  let pictures = 0;
  queue.subscribe(({ type, job }) => {
    if (type !== "status" || job.finished === undefined) return;
    ended.set(job.status, (ended.get(job.status) ?? 0) + 1);
    pictures += job.result?.images.length ?? 0;
    const ms = stages.get(job.lane) ?? { encode: 0, denoise: 0, decode: 0, upscale: 0 };
    const { encode = 0, denoise = 0, decode = 0, upscale = 0 } = job.result?.ms ?? {};
    stages.set(job.lane, {
      encode: ms.encode + encode,
      denoise: ms.denoise + denoise,
      decode: ms.decode + decode,
      upscale: ms.upscale + upscale,
    });
    if (job.status !== "completed" || job.started === undefined) return;
    // Not below 0, should the clock have been set back meanwhile: sums only grow.
    const took = Math.max(0, job.finished - job.started) / 1000;
    for (const [i, bound] of buckets.entries()) if (took <= bound) histogram[i]!++;
    total++;
    seconds += took;
  });
  const ofJobs = (queued: number, running: number): string[] => [
    ...metric("tfjs_diffusion_jobs", "gauge", "Jobs and parts of jobs by status.", [
      [`{status="queued"}`, queued],
      [`{status="running"}`, running],
    ]),
    ...metric(
      "tfjs_diffusion_jobs_ended_total",
      "counter",
      "Jobs that have ended since this server started, of the whole queue, by how.",
      jobStatuses.slice(2).map((status) => [`{status="${status}"}`, ended.get(status) ?? 0]),
    ),
    ...metric("tfjs_diffusion_pictures_total", "counter", "Pictures of jobs that have ended.", [
      ["", pictures],
    ]),
    ...metric("tfjs_diffusion_job_seconds", "histogram", "From start to end of completed jobs.", [
      ...buckets.map((bound, i): Sample => [`_bucket{le="${bound}"}`, histogram[i]!]),
      [`_bucket{le="+Inf"}`, total],
      ["_sum", seconds],
      ["_count", total],
    ]),
  ];
  return {
    count: async (c, next) => {
      await next();
      const labels = `method="${c.req.method}",route="${routePath(c, -1)}",status="${c.res.status}"`;
      requests.set(labels, (requests.get(labels) ?? 0) + 1);
    },
    async text() {
      const [counts, workers, lanes] = await Promise.all([queue.counts(), queue.workers?.(), queue.lanes()]);
      const lines = [
        ...metric(
          "tfjs_diffusion_requests_total",
          "counter",
          "Requests that were answered, by route and status.",
          [...requests].map(([labels, n]) => [`{${labels}}`, n]),
        ),
        ...ofJobs(counts.queued, counts.running),
        ...(workers
          ? metric("tfjs_diffusion_workers", "gauge", "Workers heard of in the last 30 s.", [
              ["", workers.length],
            ])
          : []),
        ...laneLines(lanes, workers),
        ...stageLines(stages),
        ...processLines(),
      ];
      return `${lines.join("\n")}\n`;
    },
  };
}

/** What stands behind the name: a suffix, labels or both; and the value. */
type Sample = readonly [string, number];

const metric = (
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  samples: readonly Sample[],
): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
  ...samples.map(([labels, value]) => `${name}${labels} ${value}`),
];

/** A name as a label's value: models are named by people. */
const label = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

function laneLines(lanes: readonly LaneState[], workers: readonly WorkerInfo[] | undefined): string[] {
  const now = Date.now();
  const perLane = (
    name: string,
    type: "counter" | "gauge",
    help: string,
    value: (state: LaneState) => number,
  ): string[] =>
    metric(
      `tfjs_diffusion_lane_${name}`,
      type,
      help,
      lanes.map((state) => [`{lane="${label(state.lane)}"}`, value(state)]),
    );
  const served = (lane: string) => workers?.filter((worker) => worker.lanes.includes(lane)).length ?? 0;
  const age = ({ oldest = now }: LaneState) => Math.max(0, now - oldest) / 1000;
  return [
    ...perLane("waiting", "gauge", "Jobs and parts that wait.", ({ waiting }) => waiting),
    ...perLane("running", "gauge", "Jobs and parts that run.", ({ running }) => running),
    ...perLane("oldest_waiting_seconds", "gauge", "Age of the oldest that waits.", age),
    ...(workers
      ? perLane("workers", "gauge", "Workers that take its jobs.", ({ lane }) => served(lane))
      : []),
    ...perLane("attempts_total", "counter", "How often a job or part has begun.", ({ attempts }) => attempts),
    ...perLane("lost_total", "counter", "Jobs and parts that are lost.", ({ lost }) => lost),
  ];
}

const stageLines = (stages: ReadonlyMap<string, Required<StageMs>>): string[] =>
  metric(
    "tfjs_diffusion_stage_seconds_total",
    "counter",
    "What completed jobs took, by model and stage.",
    [...stages].flatMap(([lane, ms]) =>
      Object.entries(ms).map(
        ([stage, value]): Sample => [`{lane="${label(lane)}",stage="${stage}"}`, value / 1000],
      ),
    ),
  );

/** Of this process, under the names that all exporters use. */
function processLines(): string[] {
  const memory = process.memoryUsage();
  return [
    ...metric("process_resident_memory_bytes", "gauge", "Memory of this server.", [["", memory.rss]]),
    ...metric("process_open_fds", "gauge", "Files and connections that it has open.", openFiles()),
  ];
}

/** Where the system tells. */
function openFiles(): Sample[] {
  try {
    return [["", readdirSync("/proc/self/fd").length]];
  } catch {
    return [];
  }
}
