import { ask, type ControlList, type ModelList, type ModelView, type SchedulerList } from "./server.js";
import { createStore } from "./store.js";

/** What there is to choose from. */
export const models = createStore<ModelList>({ models: [], unusable: [], precisions: [] });
export const schedulers = createStore<SchedulerList>({ schedulers: [], scheduleTypes: [] });
export const upscalers = createStore<readonly string[]>([]);
/** ControlNets and T2I-Adapters of the server's folder, and what prepares pictures for them. */
export const controls = createStore<ControlList>({ controls: [], preprocessors: [] });
/** Pixels that a picture may have; larger ones are made smaller before they are sent. */
export const imagePixels = createStore(2 ** 22);

export async function loadCatalog(): Promise<void> {
  const [list, names, limits, control] = await Promise.all([
    ask("GET /schedulers"),
    ask("GET /upscalers"),
    ask("GET /limits"),
    ask("GET /controls"),
    refreshModels(),
  ]);
  schedulers.set(list);
  controls.set(control);
  upscalers.set(names.upscalers);
  imagePixels.set(limits.imagePixels);
}

export async function refreshModels(): Promise<void> {
  models.set(await ask("GET /models"));
}

/** Asks again while something is being loaded or prepared, so that its progress is seen. */
export function watchModels(): () => void {
  const busy = () =>
    models.get().preparation?.status === "running" ||
    models.get().models.some(({ state }) => state.status === "loading");
  const timer = setInterval(() => {
    if (busy()) refreshModels().catch(() => {});
  }, 1000);
  return () => clearInterval(timer);
}

/** The model that a form uses: the chosen one, else the server's default if it fits, else the first that fits. */
export function modelFor(
  { models }: ModelList,
  chosen: string,
  kinds: readonly ModelView["kind"][],
): ModelView | undefined {
  const fitting = models.filter(({ kind }) => kinds.includes(kind));
  return (
    fitting.find(({ label }) => label === chosen) ?? fitting.find(({ current }) => current) ?? fitting[0]
  );
}
