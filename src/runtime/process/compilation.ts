import { type Compilation, compiledIn } from "../compiled-functions.js";

/** How often the folder is looked at: the process that compiles has no time to tell. */
const EVERY_MS = 200;

/** Tells how many functions have been compiled, as they become more, until the returned function is called. */
export function watchCompilation(
  { folder, before, total }: Compilation,
  onProgress: (done: number, total: number) => void,
): () => void {
  let told = 0;
  const timer = setInterval(() => {
    const done = Math.min(compiledIn(folder) - before, total);
    if (done > told) onProgress(done, total);
    told = Math.max(told, done);
  }, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
