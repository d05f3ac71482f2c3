import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { DiffusionError } from "../../errors.js";
import { goldenCases, goldenNumber, goldenPath, readTensors } from "../../testing/golden.js";
import { thrown } from "../../testing/thrown.js";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "./safetensors.js";

const folder = mkdtempSync(join(tmpdir(), "safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));

function readAll(path: string): Map<string, Float32Array> {
  const file = openSafetensors(path);
  try {
    return new Map([...file.tensors.keys()].map((name) => [name, file.readFloat32(name)]));
  } finally {
    file.close();
  }
}

/** A file from a header as text and a number of data bytes. */
function fileOf(header: string | Uint8Array, data = 0): string {
  const path = join(folder, "made.safetensors");
  const bytes = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  writeFileSync(path, Buffer.concat([length, bytes, Buffer.alloc(data)]));
  return path;
}

describe("golden files", () => {
  const cases = goldenCases("bad-safetensors");
  test.each(cases.map((c) => [c.id, c] as const))("%s", (_, { files, expected }) => {
    const path = goldenPath(files[0]!);
    if (expected.verdict === "accept") {
      const want = /^accepts: (.*)$/s.exec(expected.reference)![1]!;
      const names = [...readAll(path).keys()];
      for (const name of names) expect(want).toContain(name);
    } else if (expected.verdict === "reject") {
      const { code, message } = thrown(() => readAll(path));
      expect(code).toBe("FILE_FORMAT");
      expect(message).toContain(path);
    } else {
      try {
        readAll(path);
      } catch (caught) {
        expect(caught).toBeInstanceOf(DiffusionError);
      }
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  test.each(goldenCases("safetensors-values").map((c) => [c.id, c] as const))(
    "%s: values of every type",
    (_, { files, expected }) => {
      const path = goldenPath(files[0]!);
      const file = openSafetensors(path);
      for (const [name, values] of Object.entries<(number | string | boolean)[]>(expected.values)) {
        const want = Float32Array.from(values, Number);
        expect([name, ...file.readFloat32(name)]).toEqual([name, ...want]);
      }
      const half = file.readFloat32("all_f16");
      const finite = half.filter(Number.isFinite);
      expect(finite.length).toBe(expected.all_f16.finite);
      expect(finite.reduce((sum, x) => sum + Math.abs(x), 0)).toBe(expected.all_f16.sum_abs_finite);
      for (const [at, value] of Object.entries<number | string>(expected.all_f16.at))
        expect(half[Number(at)]).toBe(goldenNumber(value));
      file.close();
    },
  );

  test("a whole network reads as an independent reader reads it", () => {
    const path = goldenPath("models/tiny-sd1/unet/diffusion_pytorch_model.safetensors");
    const got = readAll(path);
    const want = readTensors(path);
    expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [name, { data }] of want) expect(got.get(name)!).toBeCloseTo32(data, {});
  });
});

describe("errors", () => {
  test.each<[string, string | Uint8Array, RegExp]>([
    ["zip", "PK\x03\x04 and more", /pickle/],
    ["pickle", Uint8Array.of(0x80, 2, 0x7d, 0x71, 0, 0x28, 0x58, 1, 2), /pickle/],
    ["web page", "<!DOCTYPE html><html>", /web page/],
    ["LFS pointer", "version https://git-lfs of some kind\noid sha256:0", /Git LFS pointer/],
    ["JSON", '{"error":"not found"}', /JSON text/],
    ["zeros", new Uint8Array(1000), /zeros/],
    ["empty file", "", /is empty: it has no bytes/],
    ["cut", "abc\x01", /4 bytes are too few/],
    ["text", "Entry not found", /a text, which begins with "Entry not found"/],
    [
      "text of some length",
      `Repository unavailable.\n${"x".repeat(99)}`,
      /a text, which begins with "Repository/,
    ],
    [
      "tar archive",
      Buffer.concat([Buffer.alloc(257, "a"), Buffer.from("ustar\0"), Buffer.alloc(249)]),
      /tar archive/,
    ],
    ["RAR archive", "Rar!\x1a\x07\x01", /RAR archive/],
  ])("a %s says what it is", (_, bytes, message) => {
    const path = join(folder, "other.safetensors");
    writeFileSync(path, bytes);
    expect(thrown(() => openSafetensors(path)).message).toMatch(message);
  });

  test("tensors beyond 4 GiB are reached", () => {
    const far = 5 * 2 ** 30;
    const header = `{"far":{"dtype":"F32","shape":[2],"data_offsets":[${far},${far + 8}]},"hole":{"dtype":"U8","shape":[${far}],"data_offsets":[0,${far}]}}`;
    const path = fileOf(header);
    truncateSync(path, 8 + header.length + far + 8); // sparse: takes no space
    const end = openSync(path, "r+");
    writeSync(end, new Uint8Array(Float32Array.of(1.5, -2).buffer), 0, 8, 8 + header.length + far);
    closeSync(end);
    const file = openSafetensors(path);
    expect([...file.readFloat32("far")]).toEqual([1.5, -2]);
    expect(file.read("hole", [far - 3, far])).toEqual(new Uint8Array(3));
    file.close();
    truncateSync(path, 0);
  });

  test("a cut file, a missing file, a folder, a missing tensor", () => {
    const path = join(folder, "cut.safetensors");
    writeSafetensors(path, new Map([["a", { dtype: "F32", shape: [4], data: new Float32Array(4) }]]));
    const file = openSafetensors(path);
    expect(thrown(() => file.read("b")).code).toBe("WEIGHT_MISSING");
    truncateSync(path, file.size - 1);
    expect(thrown(() => file.read("a")).message).toContain("became shorter");
    file.close();
    expect(thrown(() => openSafetensors(path)).message).toMatch(/is cut: it has \d+ bytes of \d+/);
    expect(thrown(() => openSafetensors(join(folder, "none"))).code).toBe("FILE_MISSING");
    expect(thrown(() => openSafetensors(folder)).code).toBe("FILE_FORMAT");
  });

  test("the message names tensor and reason", () => {
    const entry = (text: string) => thrown(() => openSafetensors(fileOf(`{"x.weight":${text}}`, 8))).message;
    expect(entry('{"dtype":"F32","shape":[3],"data_offsets":[0,8]}')).toMatch(
      /"x.weight": F32 \[3\] takes 12 bytes/,
    );
    expect(entry('{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}')).toMatch(/whole number/);
    expect(entry('{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}')).toMatch(/whole number/);
    expect(entry('{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[2]}')).toMatch(/occurs twice/);
  });

  test("a type without a reader opens, and is refused by name when read", () => {
    const file = openSafetensors(fileOf('{"a":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]}}', 8));
    expect(file.read("a")).toEqual(new Uint8Array(8));
    expect(thrown(() => file.readFloat32("a")).message).toMatch(/a is stored as F8_E8M0/);
    file.close();
  });

  test("any change of a header gives a file or a DiffusionError", () => {
    const header = Buffer.from(
      '{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}',
    );
    const change = fc.record({
      at: fc.nat(header.length),
      remove: fc.nat(6),
      insert: fc.uint8Array({ maxLength: 6 }),
    });
    const nasty = fc.constantFrom(
      "{",
      "[",
      '"',
      "\\u0061",
      "0",
      "-",
      ",",
      ":",
      "__proto__",
      "9".repeat(20),
      "[[[[",
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), fc.option(nasty), (changes, text) => {
        let bytes = header;
        for (const { at, remove, insert } of changes)
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            text === null ? insert : Buffer.from(text),
            bytes.subarray(at + remove),
          ]);
        try {
          readAll(fileOf(bytes, 20));
        } catch (caught) {
          expect(caught).toBeInstanceOf(DiffusionError);
          expect((caught as DiffusionError).code).not.toBe("INTERNAL");
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("writer", () => {
  test("what is written reads back, whatever the names, types and shapes", () => {
    const tensor = fc.record({
      dtype: fc.constantFrom("U8", "F16", "F32", "F64"),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
    });
    const path = join(folder, "written.safetensors");
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string().filter((name) => name !== "__metadata__"),
          tensor,
        ),
        (tensors) => {
          const width = { U8: 1, F16: 2, F32: 4, F64: 8 } as Record<string, number>;
          const made = new Map(
            Object.entries(tensors).map(([name, { dtype, shape }], i) => {
              const bytes = shape.reduce((a, b) => a * b, width[dtype]!);
              return [name, { dtype, shape, data: new Uint8Array(bytes).fill(i + 1) }];
            }),
          );
          writeSafetensors(path, made, { format: "pt" });
          const file = openSafetensors(path);
          expect(file.metadata.get("format")).toBe("pt");
          expect([...file.tensors.keys()].sort()).toEqual([...made.keys()].sort());
          for (const [name, { dtype, shape, data }] of made) {
            const info = file.tensors.get(name)!;
            expect([info.dtype, info.shape]).toEqual([dtype, shape]);
            expect(info.offset % width[dtype]!).toBe(0);
            expect(file.read(name)).toEqual(data);
          }
          file.close();
        },
      ),
      { numRuns: 100 },
    );
  });

  test("a failed write leaves the old file and no temporary one", () => {
    const path = join(folder, "kept.safetensors");
    const one = { dtype: "U8", shape: [1], data: Uint8Array.of(7) };
    writeSafetensors(path, new Map([["a", one]]));
    const before = readFileSync(path);
    const full = () => {
      if (!existsSync("/dev/full")) throw Object.assign(new Error("full"), { code: "ENOSPC" });
      writeFileSync("/dev/full", "x"); // the kernel's own ENOSPC
      return one.data;
    };
    const tensors = new Map<string, TensorToWrite>([
      ["a", one],
      ["b", { ...one, data: full }],
    ]);
    const { code, message } = thrown(() => writeSafetensors(path, tensors));
    expect([code, message]).toEqual([
      "DISK",
      `${path} cannot be written: there is no space left on the disk`,
    ]);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder).filter((name) => name.includes("tmp"))).toEqual([]);
    expect(thrown(() => writeSafetensors(join(path, "below.safetensors"), new Map())).code).toBe("DISK");
    expect(existsSync(path)).toBe(true);
  });
});
