import { readFileSync } from "node:fs";
import type { Computing } from "./computing.js";

/** Of one call. */
export interface Watch {
  /** The process has said something. */
  alive(): void;
  /** The call is over. */
  end(): void;
}

/** Starting, converting and loading take longer than a run: so many times `hangMs`, without a word of progress. */
const LOADING_HANGS = 3;

/** What ends the process that computes, besides its caller. */
export interface Guards {
  /** Bytes of private memory; mapped weights, which the system may drop, do not count. Looked at on Linux only. */
  readonly memoryLimit?: number;
  /** Milliseconds that one run of a network may take; loading may be silent for three times as long. */
  readonly hangMs?: number;
}

interface WatchOptions extends Guards {
  /** One run of a network; other calls may be silent for longer. */
  readonly isRun: boolean;
  /** Told before the process is ended. */
  readonly onEnd: (how: string, hint: string) => void;
}

/** Ends the process when a call takes too long or too much memory. */
export function watch(computing: Computing, { memoryLimit, hangMs, isRun, onEnd }: WatchOptions): Watch {
  const silentMs = hangMs !== undefined && !isRun ? LOADING_HANGS * hangMs : hangMs;
  const end = (how: string, hint: string) => {
    onEnd(how, hint);
    computing.kill();
  };
  let hang: NodeJS.Timeout | undefined;
  const alive = () => {
    clearTimeout(hang);
    if (silentMs !== undefined)
      hang = setTimeout(
        () =>
          end(
            `gave no answer for ${silentMs / 1000} s and was ended`,
            "where pictures of this size take so long, allow more: hangMs, or --hang of a worker",
          ),
        silentMs,
      );
  };
  alive();
  const memory =
    memoryLimit !== undefined
      ? setInterval(() => {
          const bytes = privateMemory(computing.pid);
          if (bytes > memoryLimit)
            end(
              `took ${Math.round(bytes / 2 ** 20)} MB of memory, more than the ${Math.round(memoryLimit / 2 ** 20)} MB it may, and was ended`,
              "try a smaller size or precision fp16, or allow more: memoryLimit, or --memory of a worker",
            );
        }, 500)
      : undefined;
  return {
    alive,
    end() {
      clearTimeout(hang);
      clearInterval(memory);
    },
  };
}

/** Memory that the process shares with no file, swapped out or not. 0 where the system does not tell. */
function privateMemory(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kilobytes = (name: string) =>
      Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
    return (kilobytes("RssAnon") + kilobytes("VmSwap")) * 1024;
  } catch {
    return 0;
  }
}
