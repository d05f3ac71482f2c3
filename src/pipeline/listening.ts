/** What work is given that can be aborted, and that says how far it is. */
interface Heard {
  signal?: AbortSignal;
  onProgress?: (...told: never[]) => unknown;
}

/**
 * Does work that reports to a listener. One that throws, or answers with a promise that is rejected, ends the work with
 * its error, and neither the process nor the work of others.
 *
 * @param work is given the options with a listener that never throws, and a signal that aborts when it would have
 */
export async function listening<Options extends Heard, Result>(
  options: Options,
  work: (options: Options) => Promise<Result>,
): Promise<Result> {
  const { onProgress, signal } = options;
  if (!onProgress) return work(options);
  const failing = new AbortController();
  const fail = (error: unknown) => failing.abort(error);
  const answers = new Set<Promise<void>>();
  const heard = (...told: never[]): void => {
    if (failing.signal.aborted) return;
    try {
      const answer: unknown = onProgress(...told);
      if (!(answer instanceof Promise)) return;
      const ended = answer.then(() => void answers.delete(ended), fail);
      answers.add(ended);
    } catch (error) {
      fail(error);
    }
  };
  const both = signal ? AbortSignal.any([signal, failing.signal]) : failing.signal;
  const result = await work({ ...options, signal: both, onProgress: heard });
  await Promise.all(answers);
  failing.signal.throwIfAborted();
  return result;
}
