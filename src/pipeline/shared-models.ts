import { abortable } from "../abortable.js";
import { DiffusionError } from "../errors.js";
import type { OnProgress } from "../events.js";
import type { LoadOptions } from "../options/load.js";
import { listening } from "./listening.js";
import { requireModel } from "./model-source.js";
import { StableDiffusion } from "./stable-diffusion.js";

/** A model that calls share. It is loaded as long as somebody waits for it, and stays for later calls. */
interface Shared {
  readonly model: string;
  readonly loading: Promise<StableDiffusion>;
  /** Ends the loading. */
  readonly stop: AbortController;
  readonly listeners: Set<OnProgress>;
  /** Calls that wait for it or use it. */
  users: number;
  isLoaded: boolean;
}

/** By what they were loaded with; the one used last stands last. */
const models = new Map<string, Shared>();

/** What `keepModels` changes. */
let most = 2;

/**
 * Does something with a model that is loaded once for all calls. Each of them waits with its own signal; loading stops
 * when nobody waits any more.
 *
 * @throws DiffusionError for models that cannot be found or used; the next call tries anew
 */
export async function withShared<Result>(
  model: string,
  { signal, onProgress, ...load }: LoadOptions,
  use: (model: StableDiffusion) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  requireModel(model);
  const key = JSON.stringify([model, load]);
  const shared = models.get(key) ?? begin(key, model, load);
  touch(key, shared);
  shared.users++;
  try {
    const heard = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
    return await use(await listening(heard, (heard) => loaded(shared, heard)));
  } finally {
    shared.users--;
    touch(key, shared);
    // Nobody has to wait for it.
    void leave(key, shared);
  }
}

/** The model once it is loaded, unless the signal aborts before. */
async function loaded(
  { loading, listeners }: Shared,
  { signal, onProgress }: Pick<LoadOptions, "signal" | "onProgress">,
): Promise<StableDiffusion> {
  if (onProgress) listeners.add(onProgress);
  try {
    return await abortable(loading, signal);
  } finally {
    if (onProgress) listeners.delete(onProgress);
  }
}

function begin(key: string, model: string, load: LoadOptions): Shared {
  const stop = new AbortController();
  const listeners = new Set<OnProgress>();
  const room = makeRoom(1);
  const loading = room.then(() =>
    StableDiffusion.load(model, {
      ...load,
      signal: stop.signal,
      onProgress: (event) => {
        for (const listener of listeners) listener(event);
      },
    }),
  );
  const shared: Shared = { model, loading, stop, listeners, users: 0, isLoaded: false };
  loading.then(
    () => {
      shared.isLoaded = true;
    },
    () => forget(key, shared),
  );
  return shared;
}

const touch = (key: string, shared: Shared): void => {
  // One that was given up meanwhile stays away.
  if (shared.stop.signal.aborted) return;
  models.delete(key);
  models.set(key, shared);
};

function forget(key: string, shared: Shared): void {
  if (models.get(key) === shared) models.delete(key);
}

/** What nobody waits for is not loaded to its end, and the model that was used longest ago makes room. */
async function leave(key: string, shared: Shared): Promise<void> {
  if (shared.users === 0 && !shared.isLoaded) await end(key, shared);
  await makeRoom(0);
}

/** Ends the models used longest ago, save those in use, until `coming` more may come. */
async function makeRoom(coming: number): Promise<void> {
  const idle = [...models].filter(([, { users }]) => users === 0);
  const excess = models.size + coming - most;
  await Promise.all(idle.slice(0, Math.max(0, excess)).map(([key, shared]) => end(key, shared)));
}

async function end(key: string, shared: Shared): Promise<void> {
  forget(key, shared);
  shared.stop.abort();
  const loaded = await shared.loading.catch(() => undefined);
  await loaded?.dispose();
}

/**
 * Frees models that `generate` keeps loaded; pictures that are being made with them fail. A later call loads them again.
 *
 * @param model as it was given to `generate`; absent: all of them
 */
export async function unload(model?: string): Promise<void> {
  if (model !== undefined) requireModel(model);
  const meant = [...models].filter(([, shared]) => model === undefined || shared.model === model);
  await Promise.all(meant.map(([key, shared]) => end(key, shared)));
}

/**
 * How many models `generate` keeps loaded, 2 unless said otherwise; beyond that, the one used longest ago is freed.
 * What it returns frees all of them: `await using models = keepModels(1);`
 *
 * @param count 0 keeps none
 */
export function keepModels(count: number): AsyncDisposable {
  if (!Number.isInteger(count) || count < 0)
    throw new DiffusionError(
      "BAD_OPTION",
      `models to keep must be a whole number of at least 0, got ${count}`,
    );
  most = count;
  void makeRoom(0);
  return { [Symbol.asyncDispose]: () => unload() };
}
