import { createStore, del, get, set } from "idb-keyval";
import { type Followed, followedPictures, maskOf } from "./followed/units.js";
import { noSources, type Sources, settings, sources } from "./settings.js";

/** What the browser keeps over a reload and is too large for the settings. */
interface Kept {
  readonly sources: Sources;
  /** What is followed, by the id of its unit. */
  readonly followed: Followed;
  /** The job that was shown last. */
  readonly result: { readonly id: string };
}

let opened: ReturnType<typeof createStore> | undefined;
const store = () => {
  opened ??= createStore("tfjs-diffusion", "kept");
  return opened;
};

/** Private windows may forbid it; then nothing is kept. */
export const remember = <Name extends keyof Kept>(name: Name, value: Kept[Name]): Promise<void> =>
  set(name, value, store()).catch(() => {});
export const forget = (name: keyof Kept): Promise<void> => del(name, store()).catch(() => {});
export const kept = <Name extends keyof Kept>(name: Name): Promise<Kept[Name] | undefined> =>
  get<Kept[Name]>(name, store()).catch(() => undefined);

/** The job that this tab has shown last: others have their own. Where that is forbidden, nothing is kept. */
const shownHere = "tfjs-diffusion job";
export function rememberShown(id: string): void {
  try {
    sessionStorage.setItem(shownHere, id);
  } catch {}
}
export function keptShown(): string | undefined {
  try {
    return sessionStorage.getItem(shownHere) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Brings back the pictures of before the reload, and keeps those that come. @param onMask told of a mask that is back */
export async function keepPictures(onMask: (mask: string) => Promise<void>): Promise<void> {
  const [before, followed] = await Promise.all([kept("sources"), kept("followed")]);
  if (before?.image && !sources.get().image) {
    sources.set({ ...noSources, ...before });
    if (before.mask) await onMask(before.mask).catch(() => {});
  }
  const { control, ipAdapter } = settings.get();
  const ids = new Set([...control, ...ipAdapter].flatMap(({ id }) => [id, maskOf(id)]));
  const there = Object.entries(followed ?? {}).filter(([id]) => ids.has(id));
  if (there.length > 0) followedPictures.set({ ...Object.fromEntries(there), ...followedPictures.get() });
  sources.subscribe(soon(() => void remember("sources", sources.get())));
  followedPictures.subscribe(soon(() => void remember("followed", followedPictures.get())));
}

/** A moment after the last change: a picture and its mask change one after the other. */
function soon(work: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, 150);
  };
}
