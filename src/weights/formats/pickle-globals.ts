import { DiffusionError } from "../../errors.js";
import type { Machine } from "./pickle-machine.js";
import {
  isKind,
  type PickleGlobal,
  type PickleStorage,
  type PickleTensor,
  type PickleValue,
  storageTypes,
} from "./pickle-values.js";

/** Things that training scripts leave in a checkpoint; they become records that do nothing. */
const inertTypes = new Set([
  "torch.nn.modules.container.ParameterDict",
  "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
  "argparse.Namespace",
  "pathlib.PosixPath",
  "pathlib.WindowsPath",
  "numpy.core.multiarray.scalar",
  "numpy._core.multiarray.scalar",
  "numpy.dtype",
  "_codecs.encode",
  "__builtin__.set",
  "builtins.set",
]);

export function allowedGlobal(m: Machine, module: string, shortName: string): PickleGlobal {
  const name = `${module}.${shortName}`;
  if (builders.has(name) || storageTypes.has(name) || inertTypes.has(name)) return { kind: "global", name };
  throw new DiffusionError(
    "UNSUPPORTED",
    `${m.what}: the pickle asks for ${shortened(name)} (byte ${m.at})`,
    {
      hint:
        "A checkpoint of tensors needs nothing but torch's own rebuild functions; a file that asks for more may be " +
        "meant to run code on your machine. Nothing was executed. Use a .safetensors file instead.",
    },
  );
}

/** Names come out of the file, and may be of any length. */
const shortened = (name: string): string => (name.length > 200 ? `${name.slice(0, 200)}…` : name);

/** REDUCE and NEWOBJ: the only "calls", and each only makes a record. */
export function rebuild(m: Machine): void {
  const [callee, parameters] = m.popMany(2);
  if (!isKind(callee, "global")) m.fail("the pickle calls what is no global");
  if (!isKind(parameters, "tuple")) m.fail(`the pickle calls ${callee.name} without a tuple`);
  const builder = builders.get(callee.name);
  if (!builder && !inertTypes.has(callee.name))
    m.fail(`the pickle calls ${callee.name}, which is a type of storage`);
  m.push(builder?.(m, parameters.items) ?? { kind: "inert", name: callee.name, state: parameters });
}

const builders = new Map<string, (m: Machine, parameters: readonly PickleValue[]) => PickleValue>([
  ["collections.OrderedDict", (m, [pairs]) => orderedDict(m, pairs)],
  ["torch._utils._rebuild_tensor", tensor],
  ["torch._utils._rebuild_tensor_v2", tensor], // (storage, offset, shape, strides, requires_grad, hooks)
  [
    "torch._utils._rebuild_parameter", // (tensor, requires_grad, hooks)
    (m, [data]) => (isKind(data, "tensor") ? data : m.fail("the pickle makes a parameter of no tensor")),
  ],
]);

/** Python 3 fills the dictionary with SETITEMS; Python 2 passes a list of [key, value] lists. */
function orderedDict(m: Machine, pairs: PickleValue | undefined): PickleValue {
  const dict = new Map<PickleValue, PickleValue>();
  if (pairs === undefined) return dict;
  if (!Array.isArray(pairs)) return m.fail("the pickle fills a dictionary with no list");
  m.spend(pairs.length);
  for (const pair of pairs) {
    const [key, value, more] = Array.isArray(pair) ? pair : isKind(pair, "tuple") ? pair.items : [];
    if (key === undefined || value === undefined || more !== undefined)
      return m.fail("the pickle fills a dictionary with no pairs");
    dict.set(key, value);
  }
  return dict;
}

function tensor(m: Machine, [from, offset, shape, strides]: readonly PickleValue[]): PickleTensor {
  if (!isKind(from, "storage")) return m.fail("the pickle makes a tensor of no storage");
  const result: PickleTensor = {
    kind: "tensor",
    storage: from,
    offset: size(m, offset),
    shape: sizes(m, shape),
    strides: sizes(m, strides),
  };
  checkTensor(m, result);
  return result;
}

/** Every element lies inside the storage, and there are not more elements than the storage has. */
function checkTensor(m: Machine, { storage: from, offset, shape, strides }: PickleTensor): void {
  if (shape.length !== strides.length) m.fail(`a tensor has shape [${shape}] but strides [${strides}]`);
  const count = shape.reduce((product, n) => product * n, 1);
  const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset);
  if (count > from.length || (count > 0 && last >= from.length))
    m.fail(
      `a tensor of shape [${shape}], strides [${strides}] at ${offset} is larger than its storage of ${from.length}`,
    );
}

function size(m: Machine, value: PickleValue | undefined): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    return m.fail("a tensor's size or offset is no whole number");
  return value;
}

function sizes(m: Machine, value: PickleValue | undefined): number[] {
  const items = isKind(value, "tuple") ? value.items : Array.isArray(value) ? value : undefined;
  if (!items) return m.fail("a tensor's shape is no tuple");
  m.spend(items.length);
  return items.map((item) => size(m, item));
}

/** `("storage", type, key, device, length)`; the old format adds a view, which torch has not written since 0.4. */
export function storage(m: Machine, id: PickleValue): PickleStorage {
  const [tag, type, key, , length, view] = isKind(id, "tuple") ? id.items : [];
  const dtype = isKind(type, "global") ? storageTypes.get(type.name) : undefined;
  if (tag !== "storage" || !dtype || typeof key !== "string" || (view ?? null) !== null)
    return m.fail("the pickle refers to something that is no storage");
  return { kind: "storage", dtype, key, length: size(m, length) };
}

/** BUILD: state for an inert object; attributes of a dictionary (`_metadata`) and of tensors do not matter here. */
export function build(m: Machine): void {
  const state = m.pop();
  const target = m.peek();
  if (isKind(target, "inert")) target.state = state;
  else if (!(target instanceof Map) && !isKind(target, "tensor"))
    m.fail("the pickle gives state to what can have none");
}
