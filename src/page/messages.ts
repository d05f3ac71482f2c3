import { connection } from "./connection.js";
import { currentJob } from "./jobs.js";
import { note } from "./navigation.js";
import { settings, sources } from "./settings.js";

/**
 * Messages go when what they were about has been changed. What is below moves up then: while a button is held down that
 * waits, or the button would be let go somewhere else, and the click be lost. (Leaving a field changes settings.)
 */
export function forgetWithCauses(): void {
  let held = false;
  let waiting = false;
  addEventListener("pointerdown", () => {
    held = true;
  });
  const letGo = () => {
    held = false;
    if (waiting) setTimeout(forget);
  };
  addEventListener("pointerup", letGo);
  addEventListener("pointercancel", letGo);
  const forget = () => {
    waiting = held;
    if (held) return;
    if (note.get()) note.set("");
    const { problem, ...rest } = currentJob.get();
    if (problem !== undefined && !rest.sending) currentJob.set(rest);
  };
  settings.subscribe(forget);
  connection.subscribe(forget);
  let { image } = sources.get();
  sources.subscribe(() => {
    const { image: now } = sources.get();
    if (now !== image) forget();
    image = now;
  });
}
