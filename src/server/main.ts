import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import type { HeldLock } from "../disk/file-lock.js";
import { packageFolder, packageVersion } from "../disk/package.js";
import { DiffusionError, readWildcards } from "../index.js";
import { allowedHosts, checkAccess, listening, urlOf } from "./address.js";
import { Foreign } from "./foreign/foreign.js";
import { createListener } from "./http/handler.js";
import type { Parts } from "./jobs/accept.js";
import { foldersOf } from "./jobs/adapter-files.js";
import { usualGuards } from "./jobs/guards.js";
import { Jobs } from "./jobs/jobs.js";
import { Models } from "./jobs/models.js";
import { Preparations } from "./jobs/prepare.js";
import { libraryWork } from "./jobs/work.js";
import { logJobs } from "./log.js";
import { openLocalQueue } from "./queue/local/local.js";
import { openRedisQueue } from "./queue/redis/redis.js";
import { defaultLimits, sharedLimits } from "./requests/limits.js";
import type { ServiceOptions } from "./service-options.js";
import { type OpenedThings, openedThings, startError, timeLeft } from "./starting.js";
import { lockDataFolder, openDataFolder } from "./storage/data-folder.js";
import { imageStore } from "./storage/images.js";
import { openSettings } from "./storage/settings.js";
import { noStyles, openStyles } from "./storage/styles.js";
import { startSweeping } from "./sweeping.js";

export interface ServeOptions extends ServiceOptions {
  /** Default 7860, the web UI's. 0 takes a free one. */
  readonly port?: number;
  /** Address to listen on; default 127.0.0.1. Anything but loopback needs `auth`. */
  readonly listen?: string;
  /** "user:password" */
  readonly auth?: string;
  /**
   * A secret in the URL of the page, against other users of this machine: `true` draws one. Programs send it as a Bearer
   * token or as a password. In place of `auth`.
   */
  readonly token?: boolean | string;
  /** Whether "Optimize model" takes paths of this machine. Default false: hub names, and what is on the list. */
  readonly allowPaths?: boolean;
  /** Further values of the Host header, such as "pictures.example:443" behind a proxy. */
  readonly allowHosts?: readonly string[];
  /** The model to begin with: one of the list, a folder or a file. Default: the one chosen last, else the default model. */
  readonly model?: string;
  /** A CSV file of styles, as the web UI writes it. */
  readonly styles?: string;
  /** A folder of lists that prompts draw from: a text file for each. */
  readonly wildcards?: string;
  /** redis://host:port of a queue that workers share; then this process loads no model. */
  readonly queue?: string;
  /** Milliseconds after which a job that has ended is forgotten, with its pictures; favourites stay. Default: never. */
  readonly keepMs?: number;
  /** Folder of the built page. Default: the package's own. */
  readonly page?: string;
}

export interface RunningServer {
  readonly url: string;
  /** What to open: with the token, where there is one. */
  readonly pageUrl: string;
  /** Finishes or journals what runs, then ends: within `graceMs`, whatever does not answer. */
  close(): Promise<void>;
  /** Aborted, with what to say, when it cannot go on: another process has taken its data folder over. */
  readonly failed: AbortSignal;
}

/**
 * Starts the page and the APIs. The port answers at once; the model is loaded in the background. A start that fails
 * leaves nothing open.
 *
 * @throws DiffusionError BAD_OPTION for a listening address that would be open to all, a port that is taken, or a
 *   data folder that another server has; QUEUE, DISK
 */
export async function serve(options: ServeOptions = {}): Promise<RunningServer> {
  const opened = openedThings();
  try {
    return await start(options, opened);
  } catch (error) {
    await opened.close();
    throw startError(error);
  }
}

async function start(options: ServeOptions, opened: OpenedThings): Promise<RunningServer> {
  const { port = 7860, listen = "127.0.0.1", auth, log = () => {}, graceMs = 30_000 } = options;
  const load = { ...usualGuards(), ...options.load };
  const token = options.token === true ? randomBytes(24).toString("base64url") : options.token || undefined;
  checkAccess(listen, { auth, token });
  const left = timeLeft(options.startMs);
  const { queue: url } = options;
  const folders = foldersOf(options);
  const shared = url !== undefined;
  if (options.limits?.storedBytes !== undefined && (shared || options.images !== undefined))
    throw new DiffusionError("BAD_OPTION", "--quota: pictures that others may keep as well are not counted", {
      hint: "leave it out with --queue or --images; --keep forgets old jobs with their pictures",
    });
  const limits = { ...defaultLimits, ...(shared && sharedLimits), ...options.limits };
  const dataDir = await openDataFolder(options.dataDir, log);
  checkFolders([...Object.values(folders), options.models]);
  // Servers on a queue share the folder: only a journal has one writer.
  const lock = shared ? undefined : await lockDataFolder(dataDir);
  if (lock) opened.add(() => lock.release());
  const styles = options.styles === undefined ? noStyles : await openStyles(options.styles);
  const settings = await openSettings(join(dataDir, "settings.json"));
  const models = await Models.open(settings, load, folders);
  opened.add(() => models.dispose());
  if (options.models) await models.addFolder(options.models);
  if (options.model) await models.choose((await models.addPath(options.model)) ?? options.model);
  const images = await imageStore(options.images, dataDir, { log, answerMs: left(), own: !shared });
  const named = options.name !== undefined && { name: options.name };
  const queue = shared
    ? await openRedisQueue(url, { queued: limits.queued, log, answerMs: left(), ...named })
    : await openLocalQueue(join(dataDir, "journal.jsonl"), { ...limits, log, ...named });
  opened.add(() => queue.close());
  const jobs = new Jobs(queue, libraryWork({ models, images, limits, version }), {
    ...limits,
    // A shared queue counts when it takes a job; asked before, it would answer twice, or not.
    ...(shared && { queued: Number.POSITIVE_INFINITY }),
    log,
    onJob: logJobs(log),
    shared,
    reachable: images.reachable,
  });
  const wildcards = async () => (options.wildcards === undefined ? {} : readWildcards(options.wildcards));
  await wildcards(); // What is wrong with the folder is said at the start.
  const preparations = new Preparations(models, { load, paths: options.allowPaths ?? false, log });
  const foreign = new Foreign(limits);
  opened.add(async () => foreign.dispose());
  const parts: Parts = { jobs, models, images, foreign, settings, limits, styles, wildcards };
  const sweeping = startSweeping(parts, { dataDir, log, keepMs: options.keepMs });
  opened.add(async () => clearInterval(sweeping));

  let hosts: ReadonlySet<string> = new Set();
  const listener = createListener(parts, {
    access: {
      hosts: () => hosts,
      log,
      ...(auth !== undefined && { secret: auth }),
      ...(token !== undefined && { token }),
    },
    preparations,
    page: options.page ?? pageFolder(),
    version,
    log,
  });
  const server = createServer(listener);
  const address = await listening(server, port, listen);
  hosts = allowedHosts(address, options.allowHosts ?? []);
  const serverUrl = urlOf(address);
  await lock?.tell(serverUrl);
  if (!shared) jobs.start();
  const warming = shared ? undefined : warm(models, log);
  // Found out behind what clients wait for.
  void Promise.resolve(warming).then(() => models.list().map(({ info }) => models.hashes.of(info.path)));

  const close = async () => {
    await Promise.all([jobs.close(graceMs), preparations.close()]);
    server.closeIdleConnections();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // Event streams end with their jobs; what is left after a moment is cut.
    setTimeout(() => server.closeAllConnections(), 500).unref();
    clearInterval(sweeping);
    foreign.dispose();
    await models.dispose();
    await Promise.all([closed, warming]);
    await lock?.release();
  };
  let closing: Promise<void> | undefined;
  return {
    url: serverUrl,
    pageUrl: token === undefined ? serverUrl : `${serverUrl}/?token=${token}`,
    failed: failureOf(lock, dataDir),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function failureOf(lock: HeldLock | undefined, dataDir: string): AbortSignal {
  const failed = new AbortController();
  const lost = () =>
    failed.abort(
      new DiffusionError("DISK", `another server has taken ${dataDir} over while this one stood still`),
    );
  lock?.signal.addEventListener("abort", lost);
  return failed.signal;
}

/** @throws DiffusionError FILE_MISSING */
export function checkFolders(folders: readonly (string | undefined)[]): void {
  for (const folder of folders)
    if (folder !== undefined && !existsSync(folder))
      throw new DiffusionError("FILE_MISSING", `there is no folder ${folder}`);
}

async function warm(models: Models, log: (line: string) => void): Promise<void> {
  await models.warm(models.current.label).catch((error: unknown) => {
    log(`the model could not be loaded: ${error instanceof Error ? error.message : error}`);
  });
}

const pageFolder = (): string => join(packageFolder(), "dist", "page");

export const version: string = packageVersion();
