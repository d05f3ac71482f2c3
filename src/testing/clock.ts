import { existsSync, mkdtempSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Debian's libfaketime, which sets the clock of one process; undefined where it is not installed. */
const library: string | undefined = (() => {
  const lib = "/usr/lib";
  const folders = existsSync(lib) ? readdirSync(lib).map((name) => join(lib, name, "faketime")) : [];
  return folders.map((folder) => join(folder, "libfaketimeMT.so.1")).find((path) => existsSync(path));
})();

export const hasClocks: boolean = library !== undefined;

export interface Clock {
  /** What a process needs whose clock this is. */
  readonly env: Readonly<Record<string, string>>;
  /** @param offset from the real time, such as "+1h" or "-2d" */
  set(offset: string): void;
}

/** A clock on the wall that can be set while processes look at it; stop watches (CLOCK_MONOTONIC) run on. */
export function createClock(): Clock {
  const path = join(mkdtempSync(join(tmpdir(), "clock-")), "offset");
  const set = (offset: string) => {
    writeFileSync(`${path}.new`, `${offset}\n`);
    renameSync(`${path}.new`, path);
  };
  set("+0");
  const env = {
    // Redis' allocator asks for the time before libfaketime is ready: libc's own stands in front of it.
    LD_PRELOAD: `${library}:libc.so.6`,
    FAKETIME_TIMESTAMP_FILE: path,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
  return { env, set };
}
