import type { WholeOptions } from "../options/resolved.js";
import type { Upscaler } from "../runtime/networks/upscaler.js";
import type { Conditions } from "./conditioning.js";
import type { Control } from "./control.js";
import type { PicturePrompt } from "./ip-adapter.js";
import type { Loaded } from "./loaded.js";
import type { Planned } from "./passes.js";
import type { Previewer } from "./previews.js";

/** One `generate()`: what it goes by, and what it runs on. */
export interface Generation {
  readonly loaded: Loaded;
  /** For each image, the model with the adapters that it is made with. */
  readonly adapted: readonly Loaded[];
  readonly options: WholeOptions;
  /** One for each image. */
  readonly conditions: readonly Conditions[];
  readonly controls: readonly Control[];
  /** The network that enlarges between two passes, where `hires` names one. */
  readonly upscaler?: Upscaler;
  readonly pictures: readonly PicturePrompt[];
  readonly preview: Previewer;
  readonly meter: Meter;
  /** What was done to the input that its owner should know of. */
  readonly notes: string[];
}

/** What its passes follow from. */
export const plannedOf = ({ loaded: { traits }, options }: Generation): Planned => ({ traits, options });

/** Where a generation stands. */
export interface Meter {
  /** Milliseconds spent on encoding, on the steps, on decoding. */
  readonly ms: { encode: number; denoise: number; decode: number };
  /** Evaluations of the network for all images and passes, and those that are done. */
  evaluations: number;
  done: number;
  /** Images of which `stop` has left out evaluations. */
  readonly stopped: Set<number>;
}

/** Does a piece of work, unless the generation has been aborted before or is meanwhile, and books its time. */
export async function timed<T>(
  { meter: { ms }, options: { signal } }: Pick<Generation, "meter" | "options">,
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
