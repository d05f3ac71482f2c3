import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { getCurrentTest } from "vitest/suite";

/** A tensor of a golden file in PyTorch's layout. */
export interface GoldenTensor {
  readonly shape: number[];
  readonly data: Float32Array;
}

/** One case of `index.json`; `../shared/golden/README.md` says what each kind holds. */
export interface GoldenCase {
  readonly id: string;
  readonly kind: string;
  readonly files: string[];
  // biome-ignore lint/suspicious/noExplicitAny: the index is free-form JSON, read by tests only
  readonly config: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly inputs: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly expected: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly tolerance: any;
  readonly note: string;
}

const repository = fileURLToPath(new URL("../../", import.meta.url));

/** Where shared files are looked for beside the clone; GOLDEN=copy in the environment does without them. */
const beside = (folder: string): string[] =>
  process.env.GOLDEN === "copy" ? [] : [join(repository, "../shared", folder)];

/** The full set beside the clone when it is there, else the small copy inside it (scripts/copy-golden.mjs). */
const goldenFolder = [...beside("golden"), join(repository, "src/testing/golden")].find((folder) =>
  existsSync(join(folder, "index.json")),
)!;

interface Index {
  readonly cases: GoldenCase[];
  /** Of the small copy: what it leaves out, and what stands elsewhere in the repository. */
  readonly copy?: { readonly omitted: string[]; readonly elsewhere: Record<string, string> };
}

const { cases, copy } = JSON.parse(readFileSync(join(goldenFolder, "index.json"), "utf8")) as Index;

const isIn = (file: string, folder: string): boolean => file === folder || file.startsWith(`${folder}/`);

/** A test that asks for a file which the small copy leaves out is skipped. */
export function goldenPath(file: string): string {
  if (copy?.omitted.some((left) => isIn(file, left))) skipTest(file);
  const moved = Object.entries(copy?.elsewhere ?? {}).find(([folder]) => isIn(file, folder));
  return moved ? join(repository, moved[1], file.slice(moved[0].length)) : join(goldenFolder, file);
}

const skipTest = (file: string): void =>
  getCurrentTest()?.context.skip(`${file} is not in the small copy of the reference values`);

/** Pictures and latents that diffusers makes from the default models, with the settings in their `index.json`. */
const referenceFolder = [...beside("models/reference"), join(repository, "src/testing/reference")].find(
  (folder) => existsSync(join(folder, "index.json")),
)!;

export const referencePath = (file: string): string => join(referenceFolder, file);

/** Reference values made for this repository, each with the script that makes them beside it. */
export const goldenExtra = (file: string): string => join(repository, "src/testing/golden-extra", file);

/** Every case of one kind, in the order of the index. */
export const goldenCases = (kind: string): GoldenCase[] => cases.filter((c) => c.kind === kind);

/** One case by its id. A test that asks for one which the small copy leaves out is skipped. */
export function goldenCase(id: string): GoldenCase {
  const found = cases.find((c) => c.id === id);
  if (!found && copy) skipTest(id);
  if (!found) throw new Error(`there is no golden case ${id}`);
  return found;
}

const files = new Map<string, Map<string, GoldenTensor>>();

/**
 * Resolves a tensor reference `{ file, key }` of a case. This is a plain reader for files that we trust, on
 * purpose not the library's own: a mistake in `weights/formats/safetensors` must not hide itself.
 */
export function goldenTensor(reference: { file: string; key: string }): GoldenTensor {
  const tensors = files.get(reference.file) ?? readTensors(goldenPath(reference.file));
  files.set(reference.file, tensors);
  const tensor = tensors.get(reference.key);
  if (!tensor) throw new Error(`${reference.file} has no ${reference.key}`);
  return tensor;
}

/** Reads a whole trusted safetensors file of F32, I32, U8 or BOOL tensors as float32. */
export function readTensors(path: string): Map<string, GoldenTensor> {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const raw = Uint8Array.prototype.slice.call(
      bytes,
      8 + headerLength + data_offsets[0],
      8 + headerLength + data_offsets[1],
    );
    const values =
      dtype === "F32"
        ? new Float32Array(raw.buffer)
        : Float32Array.from(dtype === "I32" ? new Int32Array(raw.buffer) : raw);
    tensors.set(name, { shape, data: values });
  }
  return tensors;
}

/** What `cases.json` says where all of its pictures have one prompt, seed and size. */
export interface PromptCases<Case> {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly seed: number;
  readonly size: number;
  readonly cases: readonly Case[];
}

/**
 * Reference values of pipelines that were made for this repository: `cases.json` and `cases.safetensors` of a folder of
 * `golden-extra`.
 */
export function extraCases<About>(folder: string) {
  const about = JSON.parse(readFileSync(goldenExtra(`${folder}/cases.json`), "utf8")) as About;
  const want = readTensors(goldenExtra(`${folder}/cases.safetensors`));
  return { about, want, expected: (name: string): GoldenTensor => toNhwc(want.get(name)!) };
}

/** The numbers of the index, where non-finite ones are written as strings. */
export const goldenNumber = (value: number | string): number => Number(value);

/** NCHW to NHWC (the layout of everything in this library); other ranks are returned as they are. */
export function toNhwc({ shape, data }: GoldenTensor): GoldenTensor {
  if (shape.length !== 4) return { shape: [...shape], data };
  const [n, c, h, w] = shape as [number, number, number, number];
  const out = new Float32Array(data.length);
  for (let i = 0; i < n; i++)
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++)
        for (let k = 0; k < c; k++) out[((i * h + y) * w + x) * c + k] = data[((i * c + k) * h + y) * w + x]!;
  return { shape: [n, h, w, c], data: out };
}
