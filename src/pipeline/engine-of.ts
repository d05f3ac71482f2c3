import type { LoadOptions } from "../options/load.js";
import { Engine } from "../runtime/process/engine.js";
import { cacheRoot } from "../weights/cache-root.js";

/**
 * The process that computes, as the options of loading ask for it. It starts with its first call.
 *
 * @param how.sideBySide whether samples of a batch are computed each by itself; default false
 * @throws DiffusionError UNSUPPORTED for bf16 on a processor without it
 */
export async function engineOf(
  { precision, cacheDir, threads, memoryLimit, hangMs }: LoadOptions,
  how: { readonly sideBySide?: boolean } = {},
): Promise<Engine> {
  const settings = {
    ...how,
    cacheRoot: cacheRoot(cacheDir),
    ...(threads !== undefined && { threads }),
    ...(memoryLimit !== undefined && { memoryLimit }),
    ...(hangMs !== undefined && { hangMs }),
  };
  return precision === "bf16" ? Engine.forBfloat16(settings) : new Engine(settings);
}
