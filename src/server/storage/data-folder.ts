import { chmod, mkdtemp, rmdir, stat } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { isAbsolute, join } from "node:path";
import { diskError } from "../../disk/disk-error.js";
import { type HeldLock, holdFileLock } from "../../disk/file-lock.js";
import { makeFolder } from "../../disk/folders.js";
import { DiffusionError } from "../../index.js";

/** What to do where the disk refuses. */
export const dataFolderHint = "make it writable, or choose another folder: --data <folder>";

/**
 * Makes the folder of pictures, history and settings, for its owner alone. One that is there is left as it is, unless
 * it is the usual one: another may be shared by purpose, which is told.
 *
 * @param given undefined for the usual one
 * @returns its path
 * @throws DiffusionError DISK, also for one in which nothing can be written
 */
export async function openDataFolder(
  given: string | undefined,
  log: (line: string) => void,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const path = given ?? usualFolder(env);
  const isUsual = given === undefined && !env.TFJS_DIFFUSION_DATA;
  try {
    const made = await makeFolder(path, 0o700);
    const { mode, uid } = await stat(path);
    await rmdir(await mkdtemp(join(path, ".writable-")));
    // Windows has no such rights.
    if (made !== undefined || process.platform === "win32" || (mode & 0o077) === 0) return path;
    if (isUsual && uid === process.getuid?.()) await chmod(path, 0o700);
    else log(`${path} can be read by other users of this machine; chmod 700 keeps it from them`);
    return path;
  } catch (cause) {
    throw diskError(path, cause, dataFolderHint);
  }
}

/** TFJS_DIFFUSION_DATA, else where programs of this user keep their data. */
export function usualFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (env.TFJS_DIFFUSION_DATA) return env.TFJS_DIFFUSION_DATA;
  const xdg = env.XDG_DATA_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".local", "share"), "tfjs-diffusion");
}

/**
 * One server to a data folder without a queue: two would run the same jobs, and each would drop what the other journals.
 *
 * @throws DiffusionError BAD_OPTION with who has it; DISK
 */
export const lockDataFolder = (path: string): Promise<HeldLock> =>
  holdFileLock(
    join(path, "journal.lock"),
    ({ pid, host, about }) =>
      new DiffusionError(
        "BAD_OPTION",
        `${path} is in use by another server: process ${pid}${host === hostname() ? "" : ` on ${host}`}${about ? `, ${about}` : ""}`,
        { hint: "open that one, stop it first, or give this one a folder of its own: --data <folder>" },
      ),
  ).catch((cause: unknown) => {
    throw diskError(path, cause, dataFolderHint);
  });
