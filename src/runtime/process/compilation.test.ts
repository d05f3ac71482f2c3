import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { watchCompilation } from "./compilation.js";

test("functions are counted as their files appear, those of before aside", () => {
  vi.useFakeTimers();
  const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
  const make = (name: string) => writeFileSync(join(folder, name), "");
  const told: [number, number][] = [];
  try {
    make("kept.pb");
    const end = watchCompilation({ folder, before: 1, total: 2 }, (...at) => told.push(at));
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([]);
    make("a.pb");
    make("a.pb.tmp");
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([[1, 2]]);
    make("b.pb");
    make("another network's.pb");
    vi.advanceTimersByTime(1000);
    expect(told).toEqual([
      [1, 2],
      [2, 2],
    ]);
    end();
    rmSync(folder, { recursive: true });
    vi.advanceTimersByTime(1000);
    expect(told).toHaveLength(2);
  } finally {
    vi.useRealTimers();
    rmSync(folder, { recursive: true, force: true });
  }
});
