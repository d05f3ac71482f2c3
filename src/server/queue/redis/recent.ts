/** Reads are shared for this long: many who poll cost no more than one. */
const KEPT_MS = 200;

export interface Recent<T> {
  /** What was read for this key within the last 200 ms, else what is read now. */
  get(key: string): Promise<T>;
  /** What was read so far is not given out any more. */
  forget(): void;
}

/** @param now milliseconds on any clock that does not jump */
export function recent<T>(read: (key: string) => Promise<T>, now = () => performance.now()): Recent<T> {
  // Oldest first.
  const kept = new Map<string, { readonly value: Promise<T>; readonly until: number }>();
  return {
    get(key) {
      const time = now();
      for (const [old, { until }] of kept) {
        if (until > time) break;
        kept.delete(old);
      }
      const known = kept.get(key);
      if (known) return known.value;
      const value = read(key);
      const entry = { value, until: time + KEPT_MS };
      kept.set(key, entry);
      value.catch(() => kept.get(key) === entry && kept.delete(key));
      return value;
    },
    forget: () => kept.clear(),
  };
}
