import {
  ask,
  type ControlList,
  type ModelList,
  type ModelView,
  type Named,
  type SchedulerList,
} from "./server.js";
import { createStore } from "./store.js";

/** Whether what there is to choose from is here yet. */
export const catalogState = createStore<{
  readonly state: "opening" | "ready" | "failed";
  readonly problem?: string;
}>({ state: "opening" });

/** What there is to choose from. */
export const models = createStore<ModelList>({ models: [], unusable: [], precisions: [] });
export const schedulers = createStore<SchedulerList>({ schedulers: [], scheduleTypes: [] });
export const upscalers = createStore<readonly string[]>([]);
/** Those of them that a second pass can enlarge by. */
export const upscalerNetworks = createStore<readonly string[]>([]);
/** ControlNets and T2I-Adapters of the server's folder, and what prepares pictures for them. */
export const controls = createStore<ControlList>({ controls: [], preprocessors: [] });
export const ipAdapters = createStore<readonly Named[]>([]);
/** Pixels that a picture may have; larger ones are made smaller before they are sent. */
export const imagePixels = createStore(2 ** 22);

export async function loadCatalog(): Promise<void> {
  const [list, names, limits, control, adapters] = await Promise.all([
    ask("GET /schedulers"),
    ask("GET /upscalers"),
    ask("GET /limits"),
    ask("GET /controls"),
    ask("GET /ip-adapters"),
    refreshModels(),
  ]);
  schedulers.set({ ...list, schedulers: list.schedulers.map(named) });
  controls.set(control);
  ipAdapters.set(adapters.ipAdapters);
  upscalers.set(names.upscalers);
  upscalerNetworks.set(names.networks);
  imagePixels.set(limits.imagePixels);
}

/** Those that the web UI does not have, under the names of their papers. */
const schedulerNames: Readonly<Record<string, string>> = {
  ddpm: "DDPM",
  dpm_single: "DPM++ single step",
  deis: "DEIS",
  ipndm: "iPNDM",
  tcd: "TCD",
  edm_euler: "EDM Euler",
  edm_dpmpp_2m: "EDM DPM++ 2M",
};
const named = (entry: SchedulerList["schedulers"][number]) => ({
  ...entry,
  label: entry.label === entry.name ? (schedulerNames[entry.name] ?? entry.name) : entry.label,
});

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
