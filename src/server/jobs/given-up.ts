import { abortable } from "../../abortable.js";

/** Milliseconds that work has to end after its signal has aborted, for a picture that is just being finished. */
const LAST_WORDS_MS = 1000;

/** The work, or the signal's reason where the work does not end by itself: those behind it wait no longer. */
export async function orGivenUp<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setTimeout(() => late.abort(signal.reason), LAST_WORDS_MS);
  };
  if (signal.aborted) begin();
  signal.addEventListener("abort", begin, { once: true });
  try {
    return await abortable(work, late.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", begin);
  }
}
