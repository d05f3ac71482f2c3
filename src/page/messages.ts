import { connection } from "./connection.js";
import { currentJob } from "./jobs.js";
import { note } from "./navigation.js";
import { settings, sources } from "./settings.js";

/**
 * Messages go when what they were about has been changed. What is below moves up then: while a button is held down that
 * waits, or the button would be let go somewhere else, and the click be lost. (Leaving a field changes settings.) What the
 * click itself has said by then stays: only what stood there at the change is outdated.
 */
export function forgetWithCauses(): void {
  let held = false;
  let outdated: Said | undefined;
  addEventListener("pointerdown", () => {
    held = true;
  });
  const letGo = () => {
    held = false;
    if (!outdated) return;
    setTimeout(() => {
      if (outdated) forget(outdated);
      outdated = undefined;
    });
  };
  addEventListener("pointerup", letGo);
  addEventListener("pointercancel", letGo);
  // Also a sentence that is said again is new.
  note.subscribe(() => {
    if (outdated) outdated = { ...outdated, note: "" };
  });
  const changed = () => {
    if (held) outdated ??= saidNow();
    else forget(saidNow());
  };
  settings.subscribe(changed);
  connection.subscribe(changed);
  let { image } = sources.get();
  sources.subscribe(() => {
    const { image: now } = sources.get();
    if (now !== image) changed();
    image = now;
  });
}

interface Said {
  readonly note: string;
  readonly problem: string | undefined;
}

const saidNow = (): Said => ({ note: note.get(), problem: currentJob.get().problem });

function forget(said: Said): void {
  if (said.note && note.get() === said.note) note.set("");
  const { problem, ...rest } = currentJob.get();
  if (said.problem !== undefined && problem === said.problem && !rest.sending) currentJob.set(rest);
}
