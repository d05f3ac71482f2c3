import type { OnProgress } from "../events.js";

/** Milliseconds between two events of the same file. */
const INTERVAL = 100;

/** Turns bytes into events: not more than ten a second for a file, and always its last one. */
export function downloadProgress(onProgress: OnProgress | undefined) {
  const files = new Map<string, { received: number; total: number; start: number; shown: number }>();
  const began = performance.now();
  const sum = (key: "received" | "total" | "start") =>
    [...files.values()].reduce((all, file) => all + file[key], 0);
  return {
    /** Announces a file before its first byte, so that totals are right from the start. */
    expect(name: string, total: number): void {
      files.set(name, { received: 0, total, start: 0, shown: Number.NEGATIVE_INFINITY });
    },
    /** `received` bytes of a file are on disk; the first report is what an earlier download left. */
    received(name: string, received: number): void {
      const file = files.get(name);
      if (!file || !onProgress) return;
      const now = performance.now();
      if (file.shown === Number.NEGATIVE_INFINITY) file.start = received;
      file.received = received;
      const isDone = received === file.total;
      if (file.shown === Number.POSITIVE_INFINITY || (!isDone && now - file.shown < INTERVAL)) return;
      file.shown = isDone ? Number.POSITIVE_INFINITY : now;
      const overall = { received: sum("received"), total: sum("total") };
      const bytesPerSecond = (1000 * Math.max(0, overall.received - sum("start"))) / Math.max(1, now - began);
      const left = overall.total - overall.received;
      const etaMs =
        left === 0 ? 0 : bytesPerSecond > 0 ? (1000 * left) / bytesPerSecond : Number.POSITIVE_INFINITY;
      onProgress({
        type: "download",
        file: name,
        received,
        total: file.total,
        overall: { ...overall, bytesPerSecond, etaMs },
      });
    },
  };
}
