/**
 * Writes torch's file format byte by byte, so that tests can make files that torch itself would never write.
 * Pickle opcodes carry the names of CPython's pickletools.
 */
export const pickle = {
  proto: Buffer.from([0x80, 2]),
  stop: Buffer.from("."),
  mark: Buffer.from("("),
  tuple: Buffer.from("t"),
  emptyTuple: Buffer.from(")"),
  emptyDict: Buffer.from("}"),
  emptyList: Buffer.from("]"),
  appends: Buffer.from("e"),
  setItems: Buffer.from("u"),
  reduce: Buffer.from("R"),
  build: Buffer.from("b"),
  persistentId: Buffer.from("Q"),
  none: Buffer.from("N"),
  no: Buffer.from([0x89]),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  text(value: string): Buffer {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return Buffer.concat([Buffer.from("X"), length, bytes]);
  },
  int(value: number): Buffer {
    const bytes = Buffer.alloc(5);
    bytes.write("J");
    bytes.writeInt32LE(value, 1);
    return bytes;
  },
  put: (key: number) => Buffer.from([0x71, key]),
  get: (key: number) => Buffer.from([0x68, key]),
};

const tupleOf = (...items: Buffer[]) => Buffer.concat([pickle.mark, ...items, pickle.tuple]);

/** How `_rebuild_tensor_v2` is called: numbers are elements, not bytes. */
export interface TensorCall {
  readonly type?: string; // FloatStorage if absent
  readonly key?: string;
  readonly length: number;
  readonly offset?: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export function tensorPickle({
  type = "FloatStorage",
  key = "0",
  length,
  offset = 0,
  ...view
}: TensorCall): Buffer {
  const id = tupleOf(
    pickle.text("storage"),
    pickle.global("torch", type),
    pickle.text(key),
    pickle.text("cpu"),
    pickle.int(length),
  );
  return Buffer.concat([
    pickle.global("torch._utils", "_rebuild_tensor_v2"),
    tupleOf(
      id,
      pickle.persistentId,
      pickle.int(offset),
      tupleOf(...view.shape.map(pickle.int)),
      tupleOf(...view.strides.map(pickle.int)),
      pickle.no,
      pickle.global("collections", "OrderedDict"),
      pickle.emptyTuple,
      pickle.reduce,
    ),
    pickle.reduce,
  ]);
}

/** A whole pickle of a dictionary. */
export const dictPickle = (entries: Readonly<Record<string, Buffer>>): Buffer =>
  Buffer.concat([
    pickle.proto,
    pickle.emptyDict,
    pickle.mark,
    ...Object.entries(entries).flatMap(([key, value]) => [pickle.text(key), value]),
    pickle.setItems,
    pickle.stop,
  ]);

/** A member of an archive; what is not given is what a sound archive would say. */
export interface ZipMember {
  readonly name: string;
  readonly data: Buffer;
  readonly localName?: string;
  readonly method?: number;
  readonly flags?: number;
  readonly size?: number;
  readonly packed?: number;
  readonly localOffset?: number;
}

/** An archive with nothing compressed. Checksums are left 0: nobody checks them in files of gigabytes. */
export function zipBytes(members: readonly ZipMember[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const member of members) {
    const localName = Buffer.from(member.localName ?? member.name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(localName.length, 26);
    const name = Buffer.from(member.name);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(member.flags ?? 0, 8);
    central.writeUInt16LE(member.method ?? 0, 10);
    central.writeUInt32LE(member.packed ?? member.data.length, 20);
    central.writeUInt32LE(member.size ?? member.data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(member.localOffset ?? at, 42);
    parts.push(local, localName, member.data);
    directory.push(central, name);
    at += 30 + localName.length + member.data.length;
  }
  const directoryBytes = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(directoryBytes.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, directoryBytes, end]);
}

/** A torch archive: the pickle and its storages by key. */
export const torchArchive = (pickled: Buffer, storages: Readonly<Record<string, Buffer>> = {}): Buffer =>
  zipBytes([
    { name: "archive/data.pkl", data: pickled },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: "archive/version", data: Buffer.from("3\n") },
  ]);

/** What `torch.save` makes of a state dictionary of float32 tensors. */
export function stateArchive(
  tensors: Iterable<
    readonly [name: string, tensor: { readonly shape: readonly number[]; readonly data: Float32Array }]
  >,
  numbers: Readonly<Record<string, number>> = {},
): Buffer {
  const entries: Record<string, Buffer> = {};
  for (const [name, value] of Object.entries(numbers)) {
    const integer = Buffer.alloc(5, "J"); // BININT
    integer.writeInt32LE(value, 1);
    entries[name] = integer;
  }
  const storages: Record<string, Buffer> = {};
  let count = 0;
  for (const [name, { shape, data }] of tensors) {
    const key = String(count++);
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    entries[name] = tensorPickle({ key, length: data.length, shape, strides });
    storages[key] = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  }
  return torchArchive(dictPickle(entries), storages);
}
