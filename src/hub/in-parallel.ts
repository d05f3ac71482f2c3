const PARALLEL = 4;

/** Runs `run` on every item, four at a time. The first error stops the others, and waits until they have. */
export async function inParallel<T, R>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  run: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const failure = new AbortController();
  const combined = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      combined.throwIfAborted();
      const i = next++;
      results[i] = await run(items[i]!, combined);
    }
  };
  const workers = Array.from({ length: Math.min(PARALLEL, items.length) }, () =>
    worker().catch((error: unknown) => {
      if (!failure.signal.aborted) failure.abort(error);
    }),
  );
  await Promise.all(workers);
  combined.throwIfAborted();
  return results;
}
