export interface TensorInfo {
  /** As safetensors names it: F32, F16, BF16, I64, … */
  readonly dtype: string;
  /** PyTorch's order. */
  readonly shape: readonly number[];
  /** Where the values begin in the file, and how many bytes they are. */
  readonly offset: number;
  readonly bytes: number;
}

/** Of a file. The largest checkpoints have thousands; a file made to exhaust memory has millions. */
export const MOST_TENSORS = 200_000;

/** An open file of named tensors, in whichever format: its header is in memory, values are read when asked for, so files may be of any size. */
export interface TensorFile {
  readonly path: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The header as it stands in the file, for keys of caches. */
  readonly header: Uint8Array;
  readonly size: number;
  /** Milliseconds. */
  readonly modified: number;
  /** The stored bytes, in a buffer of their own; `range` picks some of them, counted from the tensor's start. */
  read(name: string, range?: readonly [start: number, end: number]): Uint8Array<ArrayBuffer>;
  /** The values as float32, whatever they are stored as. */
  readFloat32(name: string): Float32Array;
  close(): void;
}

/** What adapters need of one. */
export interface AdapterFile extends Pick<TensorFile, "path" | "readFloat32"> {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>;
  readonly metadata?: ReadonlyMap<string, string>;
}
