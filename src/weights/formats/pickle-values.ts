/**
 * What a pickle of tensors can hold. There is no value that can be called: a global is a name on an allow-list,
 * and rebuilding one makes one of these plain records.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleTuple
  | PickleGlobal
  | PickleStorage
  | PickleTensor
  | PickleInert;

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

/** A name of the allow-list, as `module.name`. */
export interface PickleGlobal {
  readonly kind: "global";
  readonly name: string;
}

/** Where a tensor's numbers lie: `key` names the archive member, `length` counts elements. */
export interface PickleStorage {
  readonly kind: "storage";
  readonly dtype: TorchDtype;
  readonly key: string;
  readonly length: number;
}

/** A view into a storage; `offset` and `strides` count elements, not bytes. */
export interface PickleTensor {
  readonly kind: "tensor";
  readonly storage: PickleStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** An object that checkpoints carry besides their tensors. It has no behaviour; `state` is what BUILD gave it. */
export interface PickleInert {
  readonly kind: "inert";
  readonly name: string;
  state: PickleValue;
}

/** The names that safetensors gives to the same element types. */
export type TorchDtype = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

export const storageTypes = new Map<string, TorchDtype>([
  ["torch.DoubleStorage", "F64"],
  ["torch.FloatStorage", "F32"],
  ["torch.HalfStorage", "F16"],
  ["torch.BFloat16Storage", "BF16"],
  ["torch.LongStorage", "I64"],
  ["torch.IntStorage", "I32"],
  ["torch.ShortStorage", "I16"],
  ["torch.CharStorage", "I8"],
  ["torch.ByteStorage", "U8"],
  ["torch.BoolStorage", "BOOL"],
]);

type Kinds = Extract<PickleValue, { readonly kind: string }>;

/** Narrows a value to one of the records. */
export function isKind<K extends Kinds["kind"]>(
  value: PickleValue | undefined,
  kind: K,
): value is Extract<Kinds, { readonly kind: K }> {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}
