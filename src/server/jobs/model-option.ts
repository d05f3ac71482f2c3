import type { LoadOptions, ModelInfo } from "../../index.js";

export type Precision = NonNullable<LoadOptions["precision"]>;

/** A model that can be chosen: "v2.1-base CPU FP32". */
export interface ModelOption {
  readonly label: string;
  readonly name: string;
  readonly precision: Precision;
  /** What `StableDiffusion.load` takes: a default model's name, a path, or a hub name. */
  readonly source: string;
  readonly info: ModelInfo;
  readonly origin: "included" | "folder" | "prepared";
}

export interface ModelState {
  readonly status: "idle" | "loading" | "ready" | "failed";
  /** What is going on while it loads, in numbers. */
  readonly phase?: { readonly what: string; readonly done: number; readonly total: number };
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string };
}

/** Models that see the picture as it is start from noise. */
export const takesStrength = ({ kind }: ModelInfo): boolean => kind !== "instruct" && kind !== "upscaling";

export const optionLabel = (name: string, precision: Precision): string =>
  `${name} CPU ${precision.toUpperCase()}`;
