import type { OnProgress } from "../events.js";
import type { GenerateOptions } from "../options/options.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { Conditions } from "./conditioning.js";
import type { Control } from "./control.js";
import type { PicturePrompt } from "./ip-adapter.js";
import type { Loaded } from "./loaded.js";
import type { Previewer } from "./previews.js";

/** One call of generate(): what it was asked, and what it runs on. */
export interface Call {
  readonly loaded: Loaded;
  /** For each image, the model with the adapters that it is made with. */
  readonly adapted: readonly Loaded[];
  readonly options: GenerateOptions;
  readonly resolved: ResolvedOptions;
  /** One for each image. */
  readonly conditions: readonly Conditions[];
  readonly controls: readonly Control[];
  readonly pictures: readonly PicturePrompt[];
  readonly preview: Previewer;
  readonly emit: OnProgress;
  readonly meter: Meter;
  /** What was done to the input that its owner should know of. */
  readonly notes: string[];
}

/** Where a call stands. */
export interface Meter {
  /** Milliseconds spent on encoding, on the steps, on decoding. */
  readonly ms: { encode: number; denoise: number; decode: number };
  /** Network calls of all images and passes, and those that are done. */
  calls: number;
  done: number;
}

/** Does a piece of work, unless the call has been aborted before or is meanwhile, and books its time. */
export async function timed<T>(
  { meter: { ms }, options: { signal } }: Pick<Call, "meter" | "options">,
  what: keyof Meter["ms"],
  work: () => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const began = performance.now();
  const result = await work();
  ms[what] += performance.now() - began;
  signal?.throwIfAborted();
  return result;
}
