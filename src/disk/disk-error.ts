import { DiffusionError } from "../errors.js";

/** What a disk refuses, in words. Codes of sockets are not among them, so errors of the network pass. */
const reasons = new Map([
  ["ENOSPC", "there is no space left on the disk"],
  ["EDQUOT", "the disk quota is used up"],
  ["EFBIG", "the file would be larger than this disk or process allows"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["EROFS", "the disk is read-only"],
  ["EIO", "the disk reports an error"],
  ["ENOENT", "the folder that it belongs in is gone"],
  ["ENOTSUP", "no folder can be made there"],
  ["ESTALE", "the network disk is gone"],
  ["ENOTDIR", "a part of the path is a file, not a folder"],
  ["EEXIST", "a part of the path is a file, not a folder"],
  ["EISDIR", "a folder has this name"],
  ["ENOTEMPTY", "a folder of this name is there already"],
  ["ENAMETOOLONG", "the name is too long for this disk"],
  ["EBUSY", "another program is using it"],
  ["EMFILE", "too many files are open"],
]);

const usualHint = "Free some space, or choose another folder (TFJS_DIFFUSION_CACHE sets that of the cache).";

/**
 * Names what the disk refused when `path` was written; everything else passes unchanged.
 *
 * @param hint what to do about it, where the caller knows better
 * @returns a DiffusionError DISK, or `error` itself
 */
export function diskError(path: string, error: unknown, hint: string = usualHint): unknown {
  const reason = reasons.get((error as NodeJS.ErrnoException | undefined)?.code ?? "");
  if (!reason) return error;
  return new DiffusionError("DISK", `${path} cannot be written: ${reason}`, { hint, cause: error });
}
