import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import type { HeldLock } from "../disk/file-lock.js";
import { packageFolder, packageVersion } from "../disk/package.js";
import { DiffusionError } from "../index.js";
import { allowedHosts, checkAccess, checkPort, listening, urlOf } from "./address.js";
import { createListener } from "./http/handler.js";
import type { Parts } from "./jobs/accept.js";
import type { Models } from "./jobs/models.js";
import { Preparations } from "./jobs/prepare.js";
import { loadOptionsOf, openParts } from "./opening.js";
import type { ServeOptions } from "./service-options.js";
import { type OpenedThings, openedThings, startError } from "./starting.js";
import { lockDataFolder, openDataFolder } from "./storage/data-folder.js";
import { startSweeping } from "./sweeping.js";

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
  const { port = 7860, listen = "127.0.0.1", auth, log = () => {} } = options;
  const token = options.token === true ? randomBytes(24).toString("base64url") : options.token || undefined;
  checkAccess(listen, { auth, token });
  checkPort(port);
  checkQuota(options);
  const dataDir = await openDataFolder(options.dataDir, log);
  // Servers on a queue share the folder: only a journal has one writer.
  const lock = options.queue === undefined ? await lockDataFolder(dataDir) : undefined;
  if (lock) opened.add(() => lock.release());
  const parts = await openParts(options, dataDir, opened);
  const { models } = parts;
  const preparations = new Preparations(models, {
    ...{ load: loadOptionsOf(options), paths: options.allowPaths ?? false, log },
  });
  const sweeping = startSweeping(parts, { dataDir, log, keepMs: options.keepMs });
  opened.add(async () => clearInterval(sweeping));
  const { server, url } = await answer({ parts, preparations, token }, options);
  await lock?.tell(url);
  // With a queue, workers load the models and run the jobs.
  const warming = lock ? warm(models, log) : undefined;
  if (lock) parts.jobs.start();
  // Found out behind what clients wait for.
  void Promise.resolve(warming).then(() => models.list().map(({ info }) => models.hashes.of(info.path)));
  let closing: Promise<void> | undefined;
  const close = async () => {
    clearInterval(sweeping);
    await endAll({ parts, preparations, server }, options);
    await warming;
    await lock?.release();
  };
  return {
    url,
    pageUrl: token === undefined ? url : `${url}/?token=${token}`,
    failed: failureOf(lock, dataDir),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** @throws DiffusionError BAD_OPTION */
function checkQuota({ limits, queue, images }: ServeOptions): void {
  if (limits?.storedBytes === 0)
    throw new DiffusionError("BAD_OPTION", "--quota 0 leaves no room for a picture", {
      hint: "give gigabytes, or leave it out for 32",
    });
  if (limits?.storedBytes !== undefined && (queue ?? images) !== undefined)
    throw new DiffusionError("BAD_OPTION", "--quota: pictures that others may keep as well are not counted", {
      hint: "leave it out with --queue or --images; --keep forgets old jobs with their pictures",
    });
}

interface Answering {
  readonly parts: Parts;
  readonly preparations: Preparations;
}

/** Listens, and answers from then on. @throws DiffusionError BAD_OPTION for an address that cannot be had */
async function answer(
  { parts, preparations, token }: Answering & { readonly token: string | undefined },
  { port = 7860, listen = "127.0.0.1", log = () => {}, auth, allowHosts = [], page }: ServeOptions,
): Promise<{ server: Server; url: string }> {
  let hosts: ReadonlySet<string> = new Set();
  const access = {
    ...{ hosts: () => hosts, log },
    ...(auth !== undefined && { secret: auth }),
    ...(token !== undefined && { token }),
  };
  const listener = createListener(parts, {
    ...{ access, preparations, version: packageVersion(), log },
    page: page ?? join(packageFolder(), "dist", "page"),
  });
  const server = createServer(listener);
  const address = await listening(server, port, listen);
  hosts = allowedHosts(address, allowHosts);
  return { server, url: urlOf(address) };
}

/** Finishes or journals what runs, answers what is asked already, and frees the rest. */
async function endAll(
  { parts, preparations, server }: Answering & { readonly server: Server },
  { graceMs = 30_000 }: ServeOptions,
): Promise<void> {
  const { jobs, foreign, models } = parts;
  await Promise.all([jobs.close(graceMs), preparations.close()]);
  server.closeIdleConnections();
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // Event streams end with their jobs; what is left after a moment is cut.
  setTimeout(() => server.closeAllConnections(), 500).unref();
  foreign.dispose();
  await models.dispose();
  await closed;
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

async function warm(models: Models, log: (line: string) => void): Promise<void> {
  await models.warm(models.current.label).catch((error: unknown) => {
    log(`the model could not be loaded: ${error instanceof Error ? error.message : error}`);
  });
}
