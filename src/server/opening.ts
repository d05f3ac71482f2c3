import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageVersion } from "../disk/package.js";
import { DiffusionError, type LoadOptions, readWildcards } from "../index.js";
import { checkLoadOptions } from "../options/load.js";
import { Foreign } from "./foreign/foreign.js";
import type { Parts } from "./jobs/accept.js";
import { foldersOf } from "./jobs/adapter-files.js";
import { usualGuards } from "./jobs/guards.js";
import { Jobs } from "./jobs/jobs.js";
import { Models } from "./jobs/models.js";
import { libraryWork } from "./jobs/work.js";
import { logJobs } from "./log.js";
import { openLocalQueue } from "./queue/local/local.js";
import { openRedisQueue } from "./queue/redis/redis.js";
import { defaultLimits, sharedLimits } from "./requests/limits.js";
import type { ServeOptions, ServiceOptions } from "./service-options.js";
import { type OpenedThings, timeLeft } from "./starting.js";
import { imageStore } from "./storage/images.js";
import { openSettings, type Settings } from "./storage/settings.js";
import { noStyles, openStyles } from "./storage/styles.js";

/**
 * How servers and workers load models, checked before anything is opened: found at the first model, a mistake would leave
 * a service that runs and can make nothing.
 *
 * @throws DiffusionError BAD_OPTION, FILE_MISSING
 */
export function loadOptionsOf({ load }: ServiceOptions): LoadOptions {
  const all = { ...usualGuards(), ...load };
  checkLoadOptions(all);
  const { config } = all;
  // Names of the hub have no place on disk.
  if (config !== undefined && /^(\.{0,2}|~|[a-z]:)[\\/]/i.test(config) && !existsSync(config))
    throw new DiffusionError("FILE_MISSING", `config: there is no folder ${config}`);
  return all;
}

/**
 * The settings, and the models on the list of a server or worker.
 *
 * @throws DiffusionError FILE_MISSING for a folder that is not there
 */
export async function openModels(
  options: ServiceOptions,
  dataDir: string,
  opened: OpenedThings,
): Promise<{ settings: Settings; models: Models }> {
  const folders = foldersOf(options);
  for (const folder of [...Object.values(folders), options.models])
    if (folder !== undefined && !existsSync(folder))
      throw new DiffusionError("FILE_MISSING", `there is no folder ${folder}`);
  const settings = await openSettings(join(dataDir, "settings.json"));
  const models = await Models.open(settings, loadOptionsOf(options), folders);
  opened.add(() => models.dispose());
  if (options.models) await models.addFolder(options.models);
  return { settings, models };
}

/**
 * All that a server's APIs are made of; its jobs are not started yet.
 *
 * @throws DiffusionError BAD_OPTION, FILE_MISSING, QUEUE, DISK for what cannot be opened
 */
export async function openParts(
  options: ServeOptions,
  dataDir: string,
  opened: OpenedThings,
): Promise<Parts> {
  const { log = () => {}, queue: url } = options;
  const left = timeLeft(options.startMs);
  const shared = url !== undefined;
  const limits = { ...defaultLimits, ...(shared && sharedLimits), ...options.limits };
  const styles = options.styles === undefined ? noStyles : await openStyles(options.styles);
  const { settings, models } = await openModels(options, dataDir, opened);
  if (options.model) await models.choose((await models.addPath(options.model)) ?? options.model);
  const images = await imageStore(options.images, dataDir, { log, answerMs: left(), own: !shared });
  const named = options.name !== undefined && { name: options.name };
  const queue = shared
    ? await openRedisQueue(url, { queued: limits.queued, log, answerMs: left(), ...named })
    : await openLocalQueue(join(dataDir, "journal.jsonl"), { ...limits, log, ...named });
  opened.add(() => queue.close());
  const work = libraryWork({ models, images, limits, version: packageVersion() });
  const jobs = new Jobs(queue, work, {
    ...limits,
    // A shared queue counts when it takes a job; asked before, it would answer twice, or not.
    ...(shared && { queued: Number.POSITIVE_INFINITY }),
    ...{ log, shared, onJob: logJobs(log), reachable: images.reachable },
  });
  const wildcards = async () => (options.wildcards === undefined ? {} : readWildcards(options.wildcards));
  await wildcards(); // What is wrong with the folder is said at the start.
  const foreign = new Foreign(limits);
  opened.add(async () => foreign.dispose());
  return { jobs, models, images, foreign, settings, limits, styles, wildcards };
}
