import { useEffect } from "preact/hooks";
import { ask } from "../server.js";
import { createStore, useStore } from "../store.js";

/** Keys of the pictures that somebody likes; the server keeps them. */
const favourites = createStore<ReadonlySet<string>>(new Set());
let asked = false;

export function useFavourites(): ReadonlySet<string> {
  useEffect(() => {
    if (asked) return;
    asked = true;
    ask("GET /favourites").then(
      ({ keys }) => favourites.set(new Set(keys)),
      () => {
        asked = false;
      },
    );
  }, []);
  return useStore(favourites);
}

/** Shown at once; taken back where the server could not keep it. @throws ServerError */
export async function setFavourite(keys: readonly string[], liked: boolean): Promise<void> {
  const before = favourites.get();
  const now = new Set(before);
  for (const key of keys) liked ? now.add(key) : now.delete(key);
  favourites.set(now);
  try {
    for (const key of keys)
      await (liked ? ask("PUT /favourites/:key", { at: key }) : ask("DELETE /favourites/:key", { at: key }));
  } catch (error) {
    favourites.set(before);
    throw error;
  }
}
