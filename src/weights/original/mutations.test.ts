import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { DiffusionError } from "../../errors.js";
import { readModel } from "../../runtime/model.js";
import { readT2iAdapter } from "../../runtime/networks/adapter-networks.js";
import { goldenExtra, goldenPath } from "../../testing/golden.js";
import { tensorsOf, writeOriginal } from "../../testing/original-layout.js";
import { openComponentFolder, openFolder } from "../folder.js";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.js";
import { openTensorFile } from "../formats/tensor-file.js";
import { openComponent, openModel } from "../model.js";

const folder = mkdtempSync(join(tmpdir(), "mutations-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

const tiny = () => openFolder(goldenPath("models/tiny-sd1"));
const tokenizer = goldenPath("tokenizers/tokenizer-clip");
type Tensors = ReadonlyMap<string, TensorToWrite>;

/** What a tensor can have wrong; without it is missing. */
type Fault = "missing" | "longer" | "flat" | "I8";

function broken(tensors: Tensors, name: string, fault: Fault): Tensors {
  const result = new Map(tensors);
  const { shape } = tensors.get(name)!;
  const [first = 1, ...rest] = shape;
  const of = (dtype: string, shape: readonly number[]): TensorToWrite => {
    const length = shape.reduce((product, n) => product * n, 1);
    return { dtype, shape, data: dtype === "I8" ? new Uint8Array(length) : new Float32Array(length) };
  };
  if (fault === "missing") result.delete(name);
  if (fault === "longer") result.set(name, of("F32", [first + 1, ...rest]));
  if (fault === "flat") result.set(name, of("F32", [...shape, 2]));
  if (fault === "I8") result.set(name, of("I8", shape));
  return result;
}

function write(tensors: Tensors): string {
  const path = join(folder, `${++files}.safetensors`);
  writeSafetensors(path, tensors);
  return path;
}

function read(path: string): Tensors {
  const file = openTensorFile(path);
  const tensors = new Map(
    [...file.tensors].map(([name, { shape }]) => [
      name,
      { dtype: "F32", shape, data: file.readFloat32(name) },
    ]),
  );
  file.close();
  return tensors;
}

const filled = (
  tensors: ReturnType<typeof tensorsOf>,
  rename: (name: string) => string | undefined,
): Tensors =>
  new Map(
    [...tensors].flatMap(([name, { shape, data }]) => {
      const own = rename(name);
      return own === undefined ? [] : [[own, { dtype: "F32", shape, data }] as const];
    }),
  );

const decoder = (): Tensors =>
  filled(tensorsOf(openComponentFolder(goldenPath("models/tiny-taesd")).open()), (name) => {
    const [, layer, rest] = /^decoder\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
    return layer === undefined ? undefined : `${Number(layer) + 1}.${rest}`;
  });

const wholeFile = (): Tensors => {
  const path = join(folder, "whole.safetensors");
  writeOriginal(path, tiny());
  return new Map([...read(path)].filter(([name]) => name !== "alphas_cumprod" && !/logit_scale/.test(name)));
};

const readers: Record<string, { sound: () => Tensors; open: (path: string) => unknown }> = {
  "a whole model in the original layout": {
    sound: wholeFile,
    open: (path) => readModel(openModel(path, { tokenizer, config: goldenPath("models/tiny-sd1") })),
  },
  "TAESD's decoder": {
    sound: decoder,
    open: (path) => readModel(tiny(), { taesd: openComponent(path, tiny(), {}) }),
  },
  "a VAE with diffusers' names": {
    sound: () => filled(tensorsOf(tiny().vae!.open()), (name) => name),
    open(path) {
      // Groups of norms are those of all published ones, which tiny ones do not have.
      const { config, ...vae } = openComponent(path, tiny(), {});
      const groups = tiny().vae!.config.norm_num_groups!;
      return readModel(tiny(), { vae: { ...vae, config: { ...config, norm_num_groups: groups } } });
    },
  },
  "a T2I-Adapter in diffusers' folder": {
    sound: () =>
      filled(tensorsOf(openComponentFolder(goldenExtra("t2i-adapter/full")).open()), (name) => name),
    open: (path) => readT2iAdapter(openComponentFolder(goldenExtra("t2i-adapter/full"), { file: path })),
  },
};

/** What was read without an error before, or refused for another reason. */
const found: [name: string, fault: Fault][] = [
  ["first_stage_model.decoder.conv_in.weight", "missing"],
  ["first_stage_model.encoder.down.0.block.0.conv1.weight", "missing"],
  ["model.diffusion_model.input_blocks.0.0.weight", "missing"],
  ["encoder.down_blocks.0.resnets.0.conv1.weight", "longer"],
];

describe.each(Object.entries(readers))("%s", (_, { sound, open }) => {
  const tensors = sound();

  test("as it is", () => {
    expect(() => open(write(tensors))).not.toThrow();
  });

  test("with a tensor missing, of another shape, or of whole numbers: an error, which names a tensor", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...tensors.keys()),
        fc.constantFrom<Fault>("missing", "longer", "flat", "I8"),
        (name, fault) => {
          const path = write(broken(tensors, name, fault));
          let error: unknown;
          try {
            open(path);
          } catch (cause) {
            error = cause;
          }
          rmSync(path);
          expect(error, `${fault}: ${name}`).toBeInstanceOf(DiffusionError);
          const { code, message } = error as DiffusionError;
          expect(code, message).not.toBe("INTERNAL");
          // By its own name, by diffusers' for it, or by what is not there any more because of it.
          const said = message.replaceAll(path, "").replaceAll(/[\w-]+\.(json|safetensors)/g, "");
          expect(said).toMatch(
            /\w+\.(\w+\.)*(weight|bias)|lacks a (VAE|text encoder)|holds no VAE|layers end|levels|blocks/,
          );
        },
      ),
      { numRuns: 40, examples: found.filter(([name]) => tensors.has(name)) },
    );
  });
});
