import type { ProgressEvent } from "../events.js";
import type { GenerateOptions } from "../options/options.js";

/** What a run says while it works, then its result. A consumer that leaves the loop aborts the run. */
export async function* eventsOf<Result>(
  options: GenerateOptions,
  run: (options: GenerateOptions) => Promise<Result>,
): AsyncGenerator<ProgressEvent, Result> {
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const events: ProgressEvent[] = [];
  let wake = () => {};
  const onProgress = (event: ProgressEvent) => {
    events.push(event);
    wake();
    return options.onProgress?.(event);
  };
  let ended = false;
  const result = run({ ...options, signal, onProgress }).finally(() => {
    ended = true;
    wake();
  });
  // Awaited below, or not at all when the consumer leaves.
  result.catch(() => {});
  try {
    while (!ended || events.length > 0) {
      const event = events.shift();
      if (event) yield event;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    return await result;
  } finally {
    stop.abort();
  }
}
