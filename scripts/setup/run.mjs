/** Child processes of the set-up. */
import { spawn } from "node:child_process";

const KEPT = 8_000;

/**
 * Runs a program to its end: `{ status, output }`, with the end of what it wrote to stderr (and to stdout, if it
 * is not shown). `status` is undefined if the program does not exist, null if it was stopped after `timeoutMs`.
 */
export function run(command, args, { cwd, env, show = false, timeoutMs } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", show ? process.stderr : "pipe", "pipe"],
      detached: timeoutMs !== undefined, // its own process group, so that its children can be stopped with it
    });
    let output = "";
    let timer;
    const keep = (chunk) => {
      output = (output + chunk).slice(-KEPT);
    };
    child.stdout?.on("data", keep);
    child.stderr.on("data", (chunk) => {
      keep(chunk);
      if (show) process.stderr.write(chunk);
    });
    const onInterrupt = () => {
      stopGroup(child);
      process.exit(130);
    };
    const end = (status, text) => {
      clearTimeout(timer);
      process.off("SIGINT", onInterrupt);
      resolve({ status, output: text });
    };
    child.on("error", (error) => end(undefined, error.message));
    child.on("close", (status) => end(status, output.trim()));
    if (timeoutMs === undefined) return;
    timer = setTimeout(() => stopGroup(child), timeoutMs);
    process.on("SIGINT", onInterrupt); // the terminal's Ctrl-C does not reach another process group
  });
}

function stopGroup(child) {
  try {
    process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** The line of a program's output that says what went wrong: the first that announces an error, else the last. */
export function errorLine(output) {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const line = lines.find((text) => /error: \S/i.test(text)) ?? lines.at(-1) ?? "no output";
  return line.slice(0, 300);
}
