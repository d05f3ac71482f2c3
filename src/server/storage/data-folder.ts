import { chmod, mkdir, stat } from "node:fs/promises";
import { DiffusionError } from "../../index.js";

/**
 * Makes the folder of pictures, history and settings, for its owner alone. One that is there is left as it is, unless
 * it is the usual one: another may be shared by purpose, which is told.
 *
 * @throws DiffusionError DISK
 */
export async function openDataFolder(
  path: string,
  { isUsual, log }: { readonly isUsual: boolean; readonly log: (line: string) => void },
): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true, mode: 0o700 });
    const { mode, uid } = await stat(path);
    // Windows has no such rights.
    if (made !== undefined || process.platform === "win32" || (mode & 0o077) === 0) return;
    if (isUsual && uid === process.getuid?.()) await chmod(path, 0o700);
    else log(`${path} can be read by other users of this machine; chmod 700 keeps it from them`);
  } catch (cause) {
    throw new DiffusionError("DISK", `${path} cannot be used: ${(cause as Error).message}`, { cause });
  }
}
