import { createStore } from "./store.js";

/** Whether the server answers, as far as is known. */
export const connection = createStore<"fine" | "gone">("fine");

const everyMs = 1000;
/**
 * An answer that takes longer is none; with the pause before it, silence is noticed within five seconds. As long as
 * that allows: on a busy machine a server that is there may need seconds.
 */
const patienceMs = 3900;

const answers = (): Promise<boolean> =>
  fetch("/health", { signal: AbortSignal.timeout(patienceMs), cache: "no-store" }).then(
    // A server that says that it is busy or leaving is there.
    () => true,
    () => false,
  );

let looking: Promise<void> | undefined;

/** Asks whether the server is there: at once, when something else has had no answer. */
export function lookForServer(): Promise<void> {
  looking ??= answers()
    .then((there) => {
      const now = there ? "fine" : "gone";
      if (connection.get() !== now) connection.set(now);
    })
    .finally(() => {
      looking = undefined;
    });
  return looking;
}

/** Looks again and again while the page is seen. @returns what ends it */
export function watchConnection(): () => void {
  let ended = false;
  const look = async () => {
    if (ended) return;
    if (document.visibilityState === "visible") await lookForServer();
    setTimeout(look, everyMs);
  };
  void look();
  return () => {
    ended = true;
  };
}
