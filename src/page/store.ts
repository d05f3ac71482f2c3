import { useEffect, useState } from "preact/hooks";
import { type Language, type Word, wordIn } from "./words.js";

/** A value that components share: who uses it is drawn anew when it changes. */
export interface Store<T> {
  get(): T;
  set(value: T): void;
  update(changes: Partial<T>): void;
  subscribe(listener: () => void): () => void;
}

export function createStore<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  const set = (next: T) => {
    value = next;
    for (const listener of [...listeners]) listener();
  };
  return {
    get: () => value,
    set,
    update: (changes) => set({ ...value, ...changes }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** A store that the browser remembers. What was saved by another version is completed by the defaults. */
export function rememberedStore<T extends object>(key: string, initial: T): Store<T> {
  const store = createStore({ ...initial, ...readSaved(key) });
  store.subscribe(() => {
    try {
      localStorage.setItem(key, JSON.stringify(store.get()));
    } catch {
      // Private windows may forbid it; then nothing is remembered.
    }
  });
  return store;
}

function readSaved(key: string): object {
  try {
    const saved: unknown = JSON.parse(localStorage.getItem(key) ?? "{}");
    return typeof saved === "object" && saved !== null ? saved : {};
  } catch {
    return {};
  }
}

export function useStore<T>(store: Store<T>): T {
  const [value, setValue] = useState(store.get());
  useEffect(() => {
    setValue(store.get());
    return store.subscribe(() => setValue(store.get()));
  }, [store]);
  return value;
}

export interface Look {
  readonly language: Language;
  readonly theme: "auto" | "light" | "dark";
}

export const look = rememberedStore<Look>("look", {
  language: navigator.language.startsWith("zh") ? "zh" : "en",
  theme: "auto",
});

export type Translate = (word: Word, ...values: (string | number)[]) => string;

export function useWords(): Translate {
  const { language } = useStore(look);
  return (word, ...values) => wordIn(language, word, ...values);
}
