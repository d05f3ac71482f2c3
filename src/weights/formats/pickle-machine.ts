import { DiffusionError } from "../../errors.js";
import type { PickleValue } from "./pickle-values.js";

/** No checkpoint comes near this; a file made to exhaust memory does. */
const MAX_MEMO = 2_000_000;
/** Opcodes and the values that they move. Stable Diffusion XL's pickle takes a hundred thousand. */
const MAX_WORK = 5_000_000;
/** Tuples, lists and dictionaries that are open at a time. */
const MAX_MARKS = 10_000;

const utf8 = new TextDecoder("utf-8");

/** The state of the interpreter: the bytes that are left, the stack with its marks, and what was stored by number. */
export type Machine = ReturnType<typeof createMachine>;

export function createMachine(bytes: Uint8Array, what: string, start: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, PickleValue>();
  let work = 0;
  const machine = {
    what,
    at: start,
    stopped: false,
    stack: [] as PickleValue[],
    marks: [] as number[],
    fail(message: string): never {
      throw new DiffusionError("FILE_FORMAT", `${what}: ${message} (byte ${machine.at})`);
    },
    /** Counts work before it is done, so that what was stored once cannot be multiplied without an end. */
    spend(count: number): void {
      work += count;
      if (work > MAX_WORK) machine.fail(`the pickle takes more than ${MAX_WORK} steps`);
    },
    mark(): void {
      machine.marks.push(machine.stack.length);
      if (machine.marks.length > MAX_MARKS) machine.fail(`the pickle has more than ${MAX_MARKS} marks`);
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
    popMany(count: number): PickleValue[] {
      return Array.from({ length: count }, () => machine.pop()).reverse();
    },
    peek(): PickleValue {
      const value = machine.pop();
      machine.push(value);
      return value;
    },
    popToMark(): PickleValue[] {
      const mark = machine.marks.pop();
      if (mark === undefined) return machine.fail("the pickle lacks a mark");
      machine.spend(machine.stack.length - mark);
      return machine.stack.splice(mark);
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
