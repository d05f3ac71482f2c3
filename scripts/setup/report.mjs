/** Progress and errors of the set-up. All of it goes to stderr: stdout belongs to the program that follows. */

/** An expected failure: one line of what happened, and a hint that says what to do. */
export class SetupError extends Error {
  constructor(message, hint) {
    super(message);
    this.name = "SetupError";
    this.hint = hint;
  }
}

export const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

export function say(message) {
  process.stderr.write(`setup: ${message}\n`);
}

/** Runs one step of the set-up; says what is being done, and how long it took. */
export async function timed(message, work) {
  const start = performance.now();
  say(`${message} ...`);
  const result = await work();
  say(`${message}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

/** A function to call with the bytes done so far: redraws one line on a terminal, else a line at every quarter. */
export function meter(label, total) {
  let shown = 0;
  const steps = process.stderr.isTTY ? 100 : 4;
  return (done) => {
    const step = total > 0 ? Math.floor((done / total) * steps) : 0;
    if (step === shown) return;
    shown = step;
    const line = `setup: ${label}: ${megabytes(done)} of ${megabytes(total)}`;
    if (!process.stderr.isTTY) process.stderr.write(`${line}\n`);
    else process.stderr.write(`\r${line}${done >= total ? "\n" : ""}`);
  };
}
