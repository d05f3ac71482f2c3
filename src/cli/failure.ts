import { CommanderError } from "commander";
import { DiffusionError } from "../errors.js";
import { note, type Session, sayJson } from "./session.js";
import { namesInWords } from "./wording.js";

/** What the shell gets. */
export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly exitCode: number;
}

/** Says what went wrong, and returns the exit code. @param exit code in place of the one that goes with the error */
export function reportFailure(error: unknown, session: Session, exit?: number): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done; // --help, --version
  if (error instanceof CommanderError && error.code === "commander.help") return exitCodes.usage; // shown already
  const failure = failureOf(error, session);
  const { code, message, hint } = failure;
  const exitCode = exit ?? failure.exitCode;
  if (session.json) sayJson({ type: "error", code, message, ...(hint && { hint }), exitCode });
  else {
    note(`error: ${message}`);
    if (hint) note(`hint: ${hint}`);
  }
  if (session.debug && error instanceof Error) note(traceOf(error));
  return exitCode;
}

function failureOf(error: unknown, { signal, debug, written }: Session): Failure {
  // Whatever an interrupted call fails with: the processes that it started may be hit by Ctrl-C, too.
  if (signal.aborted) {
    const kept = written.length > 0 ? `; finished before, and kept: ${namesInWords(written)}` : "";
    return { code: "ABORTED", message: `interrupted${kept}`, exitCode: exitCodes.interrupted };
  }
  if (error instanceof CommanderError) {
    const [message = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
    const hint = suggestion?.replace(/^\((.*)\)$/, "$1").replace(/^Did/, "did");
    return { code: "BAD_OPTION", message, exitCode: exitCodes.usage, ...(hint && { hint }) };
  }
  if (error instanceof DiffusionError) {
    const { code, message, hint } = error;
    const exitCode = code === "BAD_OPTION" ? exitCodes.usage : exitCodes.failed;
    return { code, message, exitCode, ...(hint && { hint }) };
  }
  return {
    code: "INTERNAL",
    message: `internal: ${error instanceof Error ? error.message : String(error)}`,
    exitCode: exitCodes.failed,
    ...(!debug && { hint: "this is a mistake in tfjs-diffusion; --debug shows where" }),
  };
}

function traceOf(error: Error): string {
  const { stack = error.message, cause } = error;
  return cause instanceof Error ? `${stack}\ncaused by ${traceOf(cause)}` : stack;
}
