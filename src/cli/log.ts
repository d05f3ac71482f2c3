import { hostname } from "node:os";
import { Option } from "commander";
import { pino } from "pino";
import type { Log } from "../server/log.js";
import { note } from "./session.js";

export type LogFormat = "text" | "json";

export const logFlag = (): Option =>
  new Option("--log <format>", "what the log on standard error is made of: lines, or one JSON object a line")
    .choices(["text", "json"])
    .default("text");

/**
 * The log of a service, on standard error.
 *
 * @param process which one, for those who gather the logs of several @param worker what it is called in records of jobs
 */
export function serviceLog(format: LogFormat, process: "server" | "worker", worker: string): Log {
  if (format === "text") return (line) => note(line);
  const logger = pino(
    {
      base: { process, host: hostname(), pid: globalThis.process.pid, worker },
      messageKey: "message",
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    // At once: the last line of a process that ends is the one that is looked for.
    pino.destination({ dest: 2, sync: true }),
  );
  const log: Log = (line, { level = "info", ...fields } = {}) => logger[level](fields, line);
  // What libraries and Node itself have to say is a line like the others: BullMQ warns of Redis' settings by itself.
  console.warn = (...said: unknown[]) => log(said.map(String).join(" "), { level: "warn" });
  globalThis.process.removeAllListeners("warning");
  globalThis.process.on("warning", ({ name, message }) => log(`${name}: ${message}`, { level: "warn" }));
  return log;
}
