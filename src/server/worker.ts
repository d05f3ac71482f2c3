import { join } from "node:path";
import type { LoadOptions } from "../index.js";
import { foldersOf } from "./jobs/adapter-files.js";
import { usualGuards } from "./jobs/guards.js";
import { Jobs } from "./jobs/jobs.js";
import { Models } from "./jobs/models.js";
import { lacking } from "./jobs/named-files.js";
import type { Work } from "./jobs/running.js";
import { libraryWork } from "./jobs/work.js";
import { type Log, logJobs } from "./log.js";
import { checkFolders, defaultDataDir, version } from "./main.js";
import { openRedisQueue } from "./queue/redis/redis.js";
import { defaultLimits, type Limits, sharedLimits } from "./requests/limits.js";
import { type OpenedThings, openedThings, startError, timeLeft } from "./starting.js";
import { imageStore } from "./storage/images.js";
import { openSettings } from "./storage/settings.js";
import type { ImageStore } from "./storage/store.js";

export interface WorkerOptions {
  /** redis://[user:password@]host:port[/database] */
  readonly queue: string;
  /** Models whose jobs it takes: names of the list, folders or files. Default: the default models and those of `models`. */
  readonly model?: readonly string[];
  /** A folder of models: the same as the server's. */
  readonly models?: string;
  /** A folder of LoRAs that prompts can name: what the server's folder has. */
  readonly loraDir?: string;
  /** A folder of learned words (textual inversions) that prompts call by the names of their files: what the server's folder has. */
  readonly embeddingsDir?: string;
  /** A folder of autoencoders that servers can choose: what their folder has. */
  readonly vaeDir?: string;
  /** A folder of ControlNets and T2I-Adapters: what the server's folder has. */
  readonly controlDir?: string;
  /** A folder of IP-Adapters: what the server's folder has. */
  readonly ipAdapterDir?: string;
  /** A folder of small decoders (TAESD) for previews, each called as its model is. */
  readonly taesdDir?: string;
  /** A folder of networks that enlarge pictures: ESRGAN and SRVGGNetCompact, as .pth or .safetensors. */
  readonly upscalerDir?: string;
  /** Where pictures are kept: the same folder as the server's. */
  readonly dataDir?: string;
  /** Where pictures are kept instead, as on the server: s3://bucket/prefix. */
  readonly images?: string;
  /** Default of `hangMs` and `memoryLimit`: ten minutes for a call, nine tenths of the memory. */
  readonly load?: Pick<
    LoadOptions,
    "threads" | "cacheDir" | "memoryLimit" | "hangMs" | "config" | "prediction"
  >;
  /** What a job may take, as the server has it: it is checked again here. */
  readonly limits?: Partial<Limits>;
  /** Milliseconds that a running job is given when the worker stops; then another worker gets it. Default 30 s. */
  readonly graceMs?: number;
  /** Milliseconds without a sign of life after which another worker takes a job over. Default 15 s. */
  readonly lockMs?: number;
  /** Milliseconds in which what a start needs has to answer: Redis, the store of pictures. Default 4 s. */
  readonly startMs?: number;
  /** What this process is called in the records of jobs; no other one may be called so. */
  readonly name?: string;
  /** Lines for people, and what each is about for programs. */
  readonly log?: Log;
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
  const { dataDir = defaultDataDir(), log = () => {}, lockMs, graceMs = 30_000 } = options;
  const load = { ...usualGuards(), ...options.load };
  const folders = foldersOf(options);
  const left = timeLeft(options.startMs);
  checkFolders([...Object.values(folders), options.models]);
  const settings = await openSettings(join(dataDir, "settings.json"));
  const models = await Models.open(settings, load, folders);
  opened.add(() => models.dispose());
  if (options.models) await models.addFolder(options.models);
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
  const work = options.work?.(images) ?? libraryWork({ models, images, limits, version });
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
