import { openTab } from "./navigation.js";
import { createStore, rememberedStore, type Store } from "./store.js";
import type { Tab } from "./tabs.js";

/** The ways to make pictures, each a tab with a form. */
export const modes = ["text", "image", "inpaint", "outpaint", "upscale", "unconditional"] as const;
export type Mode = (typeof modes)[number];
const isMode = (tab: Tab): tab is Mode => modes.some((mode) => mode === tab);

/** The form that is open, or was before a tab without one. */
const openForm = createStore<Mode>(isMode(openTab.get()) ? (openTab.get() as Mode) : modes[0]);
openTab.subscribe(() => {
  const tab = openTab.get();
  if (isMode(tab) && tab !== openForm.get()) openForm.set(tab);
});

export interface FormStore<T> extends Store<T> {
  /** Changes what a form holds, whichever is open. */
  updateOf(mode: Mode, changes: Partial<T>): void;
  /** As it was at first, in every form; what `kept` names stays. @returns what undoes it */
  reset(kept: readonly (keyof T)[]): () => void;
}

/**
 * What the forms hold, remembered by the browser: most of it is the same for all of them, some each has for itself.
 * Read and changed through here is that of the open form.
 */
export function formStore<T extends object>(initial: T, ownNames: readonly (keyof T)[]): FormStore<T> {
  const shared = rememberedStore<T>("own-settings", initial);
  const own = rememberedStore<{ readonly [M in Mode]?: Partial<T> }>("form-settings", {});
  const firstOwn = pick(initial, ownNames);
  const whole = (): T => ({ ...shared.get(), ...firstOwn, ...own.get()[openForm.get()] });
  const store = createStore<T>(whole());
  const refresh = () => store.set(whole());
  openForm.subscribe(refresh);
  const updateOf = (mode: Mode, changes: Partial<T>) => {
    const mine = pick(changes, ownNames);
    const common = Object.fromEntries(
      Object.entries(changes).filter(([name]) => !(name in mine)),
    ) as Partial<T>;
    if (Object.keys(mine).length > 0) own.update({ [mode]: { ...own.get()[mode], ...mine } });
    if (Object.keys(common).length > 0) shared.update(common);
    refresh();
  };
  const update = (changes: Partial<T>) => updateOf(openForm.get(), changes);
  return {
    get: store.get,
    subscribe: store.subscribe,
    set: update,
    update,
    updateOf,
    reset(kept) {
      const before = [shared.get(), own.get()] as const;
      const put = ([common, each]: typeof before) => {
        shared.set(common);
        own.set(each);
        refresh();
      };
      put([{ ...initial, ...pick(shared.get(), kept) }, {}]);
      return () => put(before);
    },
  };
}

const pick = <T extends object>(from: Partial<T>, names: readonly (keyof T)[]): Partial<T> =>
  Object.fromEntries(names.flatMap((name) => (name in from ? [[name, from[name]]] : []))) as Partial<T>;
