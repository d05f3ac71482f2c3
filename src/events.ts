import type { Image } from "./image/image.js";
import type { Latents } from "./latents/latents.js";

/** What loading or generating says while it works. `ms` are milliseconds since the previous step, `etaMs` to the end of denoising. */
export type ProgressEvent =
  | {
      readonly type: "download";
      readonly file: string;
      readonly received: number; // bytes
      readonly total: number;
      /** All files that are known to be needed by now. */
      readonly overall: {
        readonly received: number;
        readonly total: number;
        readonly bytesPerSecond: number;
        readonly etaMs: number; // Infinity before the first byte
      };
    }
  /** Weights are converted, or functions compiled for a size that is new. */
  | { readonly type: "convert"; readonly network: string; readonly done: number; readonly total: number }
  | { readonly type: "load"; readonly network: string; readonly done: number; readonly total: number }
  | {
      readonly type: "encode";
      readonly what: "prompt" | "image";
      readonly done: number;
      readonly total: number;
    }
  | {
      readonly type: "step";
      readonly image: number; // 0-based, of the generation's images
      readonly step: number; // 1-based, counts the evaluations of all images
      readonly steps: number; // evaluations of all images, as far as they are known
      readonly timestep: number;
      readonly ms: number;
      readonly etaMs: number;
      readonly latents: Latents;
      readonly previews?: readonly Image[];
    }
  | {
      readonly type: "decode";
      readonly done: number; // images
      readonly total: number;
      /** Of the image that is being decoded, where that is done in tiles. */
      readonly tiles?: { readonly done: number; readonly total: number };
    };

/** Hears what happens. One that throws, or answers with a promise that is rejected, ends the call with its error. */
export type OnProgress = (event: ProgressEvent) => void;
