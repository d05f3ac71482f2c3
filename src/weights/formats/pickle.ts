import { DiffusionError } from "../../errors.js";

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

const storageTypes = new Map<string, TorchDtype>([
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

/** Things that training scripts leave in a checkpoint; they become records that do nothing. */
const inertTypes = new Set([
  "torch.nn.modules.container.ParameterDict",
  "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
  "numpy.core.multiarray.scalar",
  "numpy._core.multiarray.scalar",
  "numpy.dtype",
  "_codecs.encode",
  "__builtin__.set",
  "builtins.set",
]);

/** No checkpoint comes near these; a file made to exhaust memory does. */
const MAX_STACK = 1_000_000;
const MAX_MEMO = 2_000_000;
const MAX_INTEGER_BYTES = 16;

/**
 * Reads one pickle (protocols 2 to 5) without executing anything: a closed interpreter for the opcodes that
 * torch writes, with an allow-list of globals. Persistent ids are torch's `("storage", type, key, device, length)`.
 *
 * `end` is the position after STOP, for files that hold several pickles in a row.
 * @throws DiffusionError FILE_FORMAT, with the byte, for anything damaged; UNSUPPORTED, with the name, for a
 * global or an opcode that is not on the list.
 */
export function unpickle(bytes: Uint8Array, what: string, start = 0): { value: PickleValue; end: number } {
  const machine = createMachine(bytes, what, start);
  while (!machine.stopped) {
    const opcode = machine.byte();
    const run = opcodes.get(opcode);
    if (!run) {
      const shown = `0x${opcode.toString(16).padStart(2, "0")}`;
      const reason = "only what torch writes for tensors is read";
      throw new DiffusionError(
        "UNSUPPORTED",
        `${what}: pickle opcode ${shown} at byte ${machine.at - 1}: ${reason}`,
        {
          hint: "If you trust the file, convert it to .safetensors where it was made.",
        },
      );
    }
    run(machine);
    if (machine.stack.length > MAX_STACK) machine.fail(`the pickle piles up more than ${MAX_STACK} values`);
  }
  return { value: machine.pop(), end: machine.at };
}

type Machine = ReturnType<typeof createMachine>;

function createMachine(bytes: Uint8Array, what: string, start: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, PickleValue>();
  const machine = {
    what,
    at: start,
    stopped: false,
    stack: [] as PickleValue[],
    marks: [] as number[],
    fail(message: string): never {
      throw new DiffusionError("FILE_FORMAT", `${what}: ${message} (byte ${machine.at})`);
    },
    stop(): void {
      machine.stopped = true;
    },
    /** The position of the next `length` bytes, which are then consumed. */
    take(length: number): number {
      if (length > bytes.length - machine.at) machine.fail("the pickle is cut off");
      machine.at += length;
      return machine.at - length;
    },
    byte: () => view.getUint8(machine.take(1)),
    uint16: () => view.getUint16(machine.take(2), true),
    uint32: () => view.getUint32(machine.take(4), true),
    int32: () => view.getInt32(machine.take(4), true),
    float64: () => view.getFloat64(machine.take(8), false),
    length64(): number {
      const length = view.getBigUint64(machine.take(8), true);
      return length > BigInt(bytes.length) ? machine.fail("the pickle is cut off") : Number(length);
    },
    raw(length: number): Uint8Array {
      const from = machine.take(length);
      return bytes.subarray(from, from + length);
    },
    text: (length: number) => utf8.decode(machine.raw(length)),
    line(): string {
      const end = bytes.indexOf(0x0a, machine.at);
      if (end < 0) machine.fail("the pickle is cut off");
      const text = machine.text(end - machine.at);
      machine.at = end + 1;
      return text;
    },
    push(value: PickleValue): void {
      machine.stack.push(value);
    },
    pop(): PickleValue {
      if (machine.stack.length <= (machine.marks.at(-1) ?? 0)) machine.fail("the pickle's stack is empty");
      return machine.stack.pop()!;
    },
    peek(): PickleValue {
      const value = machine.pop();
      machine.push(value);
      return value;
    },
    popToMark(): PickleValue[] {
      const mark = machine.marks.pop();
      return mark === undefined ? machine.fail("the pickle lacks a mark") : machine.stack.splice(mark);
    },
    store(key: number): void {
      memo.set(key, machine.peek());
      if (memo.size > MAX_MEMO) machine.fail(`the pickle remembers more than ${MAX_MEMO} values`);
    },
    memoize: () => machine.store(memo.size),
    recall(key: number): void {
      const value = memo.get(key);
      if (value === undefined) machine.fail(`the pickle recalls value ${key}, which it never stored`);
      machine.push(value!);
    },
  };
  return machine;
}

const utf8 = new TextDecoder("utf-8");

/** Opcodes by number; their names and formats are those of CPython's pickletools. */
const opcodes = new Map<number, (m: Machine) => void>([
  [0x80, (m) => void (m.byte() > 5 && m.fail("the pickle's protocol is newer than 5"))], // PROTO
  [0x95, (m) => void m.take(8)], // FRAME
  [op("."), (m) => m.stop()], // STOP
  [op("("), (m) => void m.marks.push(m.stack.length)], // MARK
  [op("0"), (m) => void m.pop()], // POP
  [op("1"), (m) => void m.popToMark()], // POP_MARK
  [op("N"), (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
  [op("J"), (m) => m.push(m.int32())], // BININT
  [op("K"), (m) => m.push(m.byte())], // BININT1
  [op("M"), (m) => m.push(m.uint16())], // BININT2
  [0x8a, (m) => m.push(longInteger(m, m.byte()))], // LONG1
  [0x8b, (m) => m.push(longInteger(m, m.uint32()))], // LONG4
  [op("G"), (m) => m.push(m.float64())], // BINFLOAT
  [op("X"), (m) => m.push(m.text(m.uint32()))], // BINUNICODE
  [0x8c, (m) => m.push(m.text(m.byte()))], // SHORT_BINUNICODE
  [0x8d, (m) => m.push(m.text(m.length64()))], // BINUNICODE8
  [op("T"), (m) => m.push(m.text(m.uint32()))], // BINSTRING, Python 2's str
  [op("U"), (m) => m.push(m.text(m.byte()))], // SHORT_BINSTRING
  [op("B"), (m) => m.push(m.raw(m.uint32()))], // BINBYTES
  [op("C"), (m) => m.push(m.raw(m.byte()))], // SHORT_BINBYTES
  [0x8e, (m) => m.push(m.raw(m.length64()))], // BINBYTES8
  [op("]"), (m) => m.push([])],
  [op("l"), (m) => m.push(m.popToMark())], // LIST
  [op("a"), (m) => append(m, [m.pop()])], // APPEND
  [op("e"), (m) => append(m, m.popToMark())], // APPENDS
  [op(")"), (m) => m.push(tuple([]))],
  [op("t"), (m) => m.push(tuple(m.popToMark()))],
  [0x85, (m) => m.push(tuple(popMany(m, 1)))],
  [0x86, (m) => m.push(tuple(popMany(m, 2)))],
  [0x87, (m) => m.push(tuple(popMany(m, 3)))],
  [op("}"), (m) => m.push(new Map())],
  [
    op("d"), // DICT
    (m) => {
      const items = m.popToMark();
      m.push(new Map());
      setItems(m, items);
    },
  ],
  [op("s"), (m) => setItems(m, popMany(m, 2))], // SETITEM
  [op("u"), (m) => setItems(m, m.popToMark())], // SETITEMS
  [op("q"), (m) => m.store(m.byte())], // BINPUT
  [op("r"), (m) => m.store(m.uint32())], // LONG_BINPUT
  [0x94, (m) => m.memoize()], // MEMOIZE
  [op("h"), (m) => m.recall(m.byte())], // BINGET
  [op("j"), (m) => m.recall(m.uint32())], // LONG_BINGET
  [op("c"), (m) => m.push(allowedGlobal(m, m.line(), m.line()))], // GLOBAL
  [0x93, (m) => stackGlobal(m)], // STACK_GLOBAL
  [op("R"), (m) => rebuild(m)], // REDUCE
  [0x81, (m) => rebuild(m)], // NEWOBJ: the same two operands
  [op("b"), (m) => build(m)], // BUILD
  [op("Q"), (m) => m.push(storage(m, m.pop()))], // BINPERSID
]);

function op(character: string): number {
  return character.charCodeAt(0);
}

function tuple(items: readonly PickleValue[]): PickleTuple {
  return { kind: "tuple", items };
}

function popMany(m: Machine, count: number): PickleValue[] {
  const values = Array.from({ length: count }, () => m.pop());
  return values.reverse();
}

/** Little-endian two's complement of any length (sizes and steps; a seed takes at most 16 bytes). */
function longInteger(m: Machine, length: number): number | bigint {
  if (length > MAX_INTEGER_BYTES) m.fail(`the pickle holds an integer of ${length} bytes`);
  let value = 0n;
  for (const [i, byte] of m.raw(length).entries()) value |= BigInt(byte) << BigInt(8 * i);
  value = BigInt.asIntN(8 * Math.max(1, length), value);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function append(m: Machine, items: PickleValue[]): void {
  const list = m.peek();
  if (!Array.isArray(list)) m.fail("the pickle appends to what is no list");
  for (const item of items) list.push(item);
}

function setItems(m: Machine, items: PickleValue[]): void {
  const dict = m.peek();
  if (!(dict instanceof Map) || items.length % 2 !== 0)
    m.fail("the pickle sets items of what is no dictionary");
  for (let i = 0; i < items.length; i += 2) dict.set(items[i]!, items[i + 1]!);
}

function stackGlobal(m: Machine): void {
  const [module, name] = popMany(m, 2);
  if (typeof module !== "string" || typeof name !== "string")
    m.fail("the pickle names a global without names");
  m.push(allowedGlobal(m, module, name));
}

function allowedGlobal(m: Machine, module: string, shortName: string): PickleGlobal {
  const name = `${module}.${shortName}`;
  if (builders.has(name) || storageTypes.has(name) || inertTypes.has(name)) return { kind: "global", name };
  throw new DiffusionError("UNSUPPORTED", `${m.what}: the pickle asks for ${name} (byte ${m.at})`, {
    hint:
      "A checkpoint of tensors needs nothing but torch's own rebuild functions; a file that asks for more may be " +
      "meant to run code on your machine. Nothing was executed. Use a .safetensors file instead.",
  });
}

/** REDUCE and NEWOBJ: the only "calls", and each only makes a record. */
function rebuild(m: Machine): void {
  const [callee, parameters] = popMany(m, 2);
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
  return items ? items.map((item) => size(m, item)) : m.fail("a tensor's shape is no tuple");
}

/** `("storage", type, key, device, length)`; the old format adds a view, which torch has not written since 0.4. */
function storage(m: Machine, id: PickleValue): PickleStorage {
  const [tag, type, key, , length, view] = isKind(id, "tuple") ? id.items : [];
  const dtype = isKind(type, "global") ? storageTypes.get(type.name) : undefined;
  if (tag !== "storage" || !dtype || typeof key !== "string" || (view ?? null) !== null)
    return m.fail("the pickle refers to something that is no storage");
  return { kind: "storage", dtype, key, length: size(m, length) };
}

/** BUILD: state for an inert object; attributes of a dictionary (`_metadata`) and of tensors do not matter here. */
function build(m: Machine): void {
  const state = m.pop();
  const target = m.peek();
  if (isKind(target, "inert")) target.state = state;
  else if (!(target instanceof Map) && !isKind(target, "tensor"))
    m.fail("the pickle gives state to what can have none");
}

type Kinds = Extract<PickleValue, { readonly kind: string }>;

/** Narrows a value to one of the records. */
export function isKind<K extends Kinds["kind"]>(
  value: PickleValue | undefined,
  kind: K,
): value is Extract<Kinds, { readonly kind: K }> {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === kind;
}
