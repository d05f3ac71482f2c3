import { ask } from "../server.js";
import { createStore } from "../store.js";

/** Milliseconds in which a deletion can be undone. */
const GRACE_MS = 8000;

/** Jobs that are shown no more and are about to be deleted. */
export const removal = createStore<readonly string[]>([]);
/** Counts those that are done: who shows jobs asks again. */
export const removed = createStore(0);

let timer: ReturnType<typeof setTimeout> | undefined;

/** Hides jobs with their pictures, and deletes them when it was not undone. */
export function remove(ids: readonly string[]): void {
  void finish();
  removal.set(ids);
  timer = setTimeout(() => void finish(), GRACE_MS);
}

export function undoRemoval(): void {
  clearTimeout(timer);
  removal.set([]);
}

async function finish(): Promise<void> {
  clearTimeout(timer);
  const ids = removal.get();
  if (ids.length === 0) return;
  // What another page has deleted meanwhile is gone as well.
  for (const id of ids) await ask("DELETE /history/:id", { at: id }).catch(() => {});
  if (removal.get() === ids) removal.set([]);
  removed.set(removed.get() + 1);
}

// Whoever leaves does not undo any more.
addEventListener("pagehide", () => {
  for (const id of removal.get())
    void fetch(`/history/${encodeURIComponent(id)}`, { method: "DELETE", keepalive: true });
});
