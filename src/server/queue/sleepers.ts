/** Those who have found nothing to do, until somebody wakes all of them. */
export interface Sleepers {
  /** Until the next `wake`, the end of the signal, or at most for so long. */
  sleep(signal: AbortSignal, mostMs?: number): Promise<void>;
  wake(): void;
}

export function createSleepers(): Sleepers {
  const sleepers = new Set<() => void>();
  return {
    sleep: (signal, mostMs) =>
      new Promise<void>((resolve) => {
        const timer = mostMs === undefined ? undefined : setTimeout(() => woken(), mostMs);
        const woken = () => {
          clearTimeout(timer);
          sleepers.delete(woken);
          signal.removeEventListener("abort", woken);
          resolve();
        };
        sleepers.add(woken);
        signal.addEventListener("abort", woken);
        // While it was asked whether there is anything to do.
        if (signal.aborted) woken();
      }),
    wake() {
      for (const woken of sleepers) woken();
    },
  };
}
