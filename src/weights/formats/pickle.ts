import { DiffusionError } from "../../errors.js";
import { allowedGlobal, build, rebuild, storage } from "./pickle-globals.js";
import { createMachine, type Machine } from "./pickle-machine.js";
import type { PickleTuple, PickleValue } from "./pickle-values.js";

/** No checkpoint comes near these; a file made to exhaust memory does. */
const MAX_STACK = 1_000_000;
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
    machine.spend(1);
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

/** Opcodes by number; their names and formats are those of CPython's pickletools. */
const opcodes = new Map<number, (m: Machine) => void>([
  [0x80, (m) => void (m.byte() > 5 && m.fail("the pickle's protocol is newer than 5"))], // PROTO
  [0x95, (m) => void m.take(8)], // FRAME
  [op("."), (m) => m.stop()], // STOP
  [op("("), (m) => m.mark()], // MARK
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
  [0x85, (m) => m.push(tuple(m.popMany(1)))],
  [0x86, (m) => m.push(tuple(m.popMany(2)))],
  [0x87, (m) => m.push(tuple(m.popMany(3)))],
  [op("}"), (m) => m.push(new Map())],
  [
    op("d"), // DICT
    (m) => {
      const items = m.popToMark();
      m.push(new Map());
      setItems(m, items);
    },
  ],
  [op("s"), (m) => setItems(m, m.popMany(2))], // SETITEM
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
  const [module, name] = m.popMany(2);
  if (typeof module !== "string" || typeof name !== "string")
    m.fail("the pickle names a global without names");
  m.push(allowedGlobal(m, module, name));
}
