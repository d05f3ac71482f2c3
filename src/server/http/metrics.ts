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
  return {
    count: async (c, next) => {
      await next();
      const labels = `method="${c.req.method}",route="${routePath(c, -1)}",status="${c.res.status}"`;
      requests.set(labels, (requests.get(labels) ?? 0) + 1);
    },
    async text() {
      const counts = await queue.counts();
      const workers = await queue.workers?.();
      const lanes = await queue.lanes();
      const memory = process.memoryUsage();
      const lines = [
        "# TYPE tfjs_diffusion_requests_total counter",
        ...[...requests].map(([labels, n]) => `tfjs_diffusion_requests_total{${labels}} ${n}`),
        "# TYPE tfjs_diffusion_jobs gauge",
        `tfjs_diffusion_jobs{status="queued"} ${counts.queued}`,
        `tfjs_diffusion_jobs{status="running"} ${counts.running}`,
        ...(workers === undefined
          ? []
          : ["# TYPE tfjs_diffusion_workers gauge", `tfjs_diffusion_workers ${workers.length}`]),
        ...laneLines(lanes, workers),
        ...stageLines(stages),
        "# TYPE tfjs_diffusion_jobs_ended_total counter",
        ...jobStatuses
          .slice(2)
          .map((status) => `tfjs_diffusion_jobs_ended_total{status="${status}"} ${ended.get(status) ?? 0}`),
        "# TYPE tfjs_diffusion_pictures_total counter",
        `tfjs_diffusion_pictures_total ${pictures}`,
        "# TYPE tfjs_diffusion_job_seconds histogram",
        ...buckets.map((bound, i) => `tfjs_diffusion_job_seconds_bucket{le="${bound}"} ${histogram[i]}`),
        `tfjs_diffusion_job_seconds_bucket{le="+Inf"} ${total}`,
        `tfjs_diffusion_job_seconds_sum ${seconds}`,
        `tfjs_diffusion_job_seconds_count ${total}`,
        "# TYPE process_resident_memory_bytes gauge",
        `process_resident_memory_bytes ${memory.rss}`,
      ];
      return `${lines.join("\n")}\n`;
    },
  };
}

/** A name as a label's value: models are named by people. */
const label = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

/** One metric for each lane. */
const perLane = <T extends { readonly lane: string }>(
  name: string,
  type: "gauge" | "counter",
  lanes: readonly T[],
  value: (lane: T) => number,
): string[] => [
  `# TYPE tfjs_diffusion_lane_${name} ${type}`,
  ...lanes.map((state) => `tfjs_diffusion_lane_${name}{lane="${label(state.lane)}"} ${value(state)}`),
];

function laneLines(lanes: readonly LaneState[], workers: readonly WorkerInfo[] | undefined): string[] {
  const now = Date.now();
  const served = (lane: string) => workers?.filter((worker) => worker.lanes.includes(lane)).length ?? 0;
  return [
    ...perLane("waiting", "gauge", lanes, ({ waiting }) => waiting),
    ...perLane("running", "gauge", lanes, ({ running }) => running),
    ...perLane(
      "oldest_waiting_seconds",
      "gauge",
      lanes,
      ({ oldest = now }) => Math.max(0, now - oldest) / 1000,
    ),
    ...(workers === undefined ? [] : perLane("workers", "gauge", lanes, ({ lane }) => served(lane))),
    ...perLane("attempts_total", "counter", lanes, ({ attempts }) => attempts),
    ...perLane("lost_total", "counter", lanes, ({ lost }) => lost),
  ];
}

const stageLines = (stages: ReadonlyMap<string, Required<StageMs>>): string[] => [
  "# TYPE tfjs_diffusion_stage_seconds_total counter",
  ...[...stages].flatMap(([lane, ms]) =>
    Object.entries(ms).map(
      ([stage, value]) =>
        `tfjs_diffusion_stage_seconds_total{lane="${label(lane)}",stage="${stage}"} ${value / 1000}`,
    ),
  ),
];
