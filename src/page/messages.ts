import { connection } from "./connection.js";
import { currentJob } from "./jobs.js";
import { note } from "./navigation.js";
import { settings, sources } from "./settings.js";

/** Messages go when what they were about has been changed. */
export function forgetWithCauses(): void {
  const forget = () => {
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
