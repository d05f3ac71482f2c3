import { packageVersion } from "../disk/package.js";
import { Jobs } from "./jobs/jobs.js";
import type { Models } from "./jobs/models.js";
import { lacking } from "./jobs/named-files.js";
import type { Work } from "./jobs/running.js";
import { libraryWork } from "./jobs/work.js";
import { logJobs } from "./log.js";
import { openModels } from "./opening.js";
import { openRedisQueue } from "./queue/redis/redis.js";
import { defaultLimits, sharedLimits } from "./requests/limits.js";
import type { ServiceOptions } from "./service-options.js";
import { type OpenedThings, openedThings, startError, timeLeft } from "./starting.js";
import { openDataFolder, usualFolder } from "./storage/data-folder.js";
import { imageStore } from "./storage/images.js";
import type { ImageStore } from "./storage/store.js";

export interface WorkerOptions extends ServiceOptions {
  /** redis://[user:password@]host:port[/database] */
  readonly queue: string;
  /** Models whose jobs it takes: names of the list, folders or files. Default: the default models and those of `models`. */
  readonly model?: readonly string[];
  /** Milliseconds without a sign of life after which another worker takes a job over. Default 15 s. */
  readonly lockMs?: number;
  /** What is done for a job. Default: the library. */
  readonly work?: (images: ImageStore) => Work;
}

export interface RunningWorker {
  /** The models whose jobs it takes. */
  readonly lanes: readonly string[];
  /** Finishes what runs, or gives it back. */
  close(): Promise<void>;
}

/**
 * Takes jobs from a shared queue, one at a time. This process keeps locks and tells progress; the networks run in a
 * child process of the library, so that no native call can hold up either. The queue comes last: a worker that cannot
 * work leaves no trace in it.
 *
 * @throws DiffusionError QUEUE when Redis cannot be reached, BAD_OPTION for models that are not on the list, DISK when
 *   the pictures cannot be
 */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const opened = openedThings();
  try {
    return await start(options, opened);
  } catch (error) {
    await opened.close();
    throw startError(error);
  }
}

async function start(options: WorkerOptions, opened: OpenedThings): Promise<RunningWorker> {
  const { log = () => {}, lockMs, graceMs = 30_000 } = options;
  const left = timeLeft(options.startMs);
  // Of a worker that keeps pictures in a bucket it is only read, and need not be there.
  const dataDir =
    options.images === undefined
      ? await openDataFolder(options.dataDir, log)
      : (options.dataDir ?? usualFolder());
  const { models } = await openModels(options, dataDir, opened);
  for (const [entry, problem] of models.unusable)
    log(`${entry} of ${options.models} cannot be used: ${problem}`, { level: "warn" });
  const lanes = [...(await labelsOf(options.model, models)), "upscale"];
  const images = await imageStore(options.images, dataDir, { log, answerMs: left() });
  const queue = await openRedisQueue(options.queue, {
    queued: Number.MAX_SAFE_INTEGER,
    lanes,
    log,
    answerMs: left(),
    ...(!options.work && { lacking: (request) => lacking(request, models) }),
    ...(options.name !== undefined && { name: options.name }),
    ...(lockMs !== undefined && { lockMs }),
  });
  const limits = { ...defaultLimits, ...sharedLimits, ...options.limits };
  const work = options.work?.(images) ?? libraryWork({ models, images, limits, version: packageVersion() });
  const { jobMs } = limits;
  const jobs = new Jobs(queue, work, {
    jobMs,
    log,
    onJob: logJobs(log),
    shared: true,
    reachable: images.reachable,
  });
  jobs.start();
  let closing: Promise<void> | undefined;
  const close = async () => {
    await jobs.close(graceMs);
    await models.dispose();
  };
  return {
    lanes,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** The models that are named, else the default models and those of the folder. */
async function labelsOf(named: readonly string[] | undefined, models: Models): Promise<readonly string[]> {
  if (!named) return models.list().flatMap(({ label, origin }) => (origin === "prepared" ? [] : [label]));
  const labels: string[] = [];
  for (const name of named) labels.push((await models.addPath(name)) ?? models.resolve(name).label);
  return [...new Set(labels)];
}
