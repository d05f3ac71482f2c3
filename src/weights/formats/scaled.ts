import { DiffusionError } from "../../errors.js";
import { toFloat32 } from "./dtypes.js";
import type { TensorFile, TensorInfo } from "./tensors.js";

/** Where the scale of `name.weight` is: in ComfyUI's scaled checkpoints, and in those of its newer layout. */
const scaleNames = ["scale_weight", "weight_scale"];
/** What else stands beside scaled weights, and says nothing about their values: scales of inputs, and markers. */
const marks = /(^|\.)(scale_input|input_scale|scaled_fp8|comfy_quant)$/;

/**
 * A file whose 8-bit weights have a scale beside them, as one of plain float32 weights: value times scale, rounded to
 * float32 once. Other files are returned as they are.
 *
 * @throws DiffusionError UNSUPPORTED for scales of blocks or of whole-number weights
 */
export function withScales(file: TensorFile): TensorFile {
  const scales = new Map<string, number>();
  const plain = new Map<string, TensorInfo>();
  for (const [name, info] of file.tensors) {
    const module = /^(.*\.)(?:scale_weight|weight_scale)$/.exec(name)?.[1];
    const weight = module === undefined ? undefined : file.tensors.get(`${module}weight`);
    if (module !== undefined && weight) scales.set(`${module}weight`, scaleOf(file, name, weight));
    else if (!isMark(file, name)) plain.set(name, info);
  }
  if (scales.size === 0 && plain.size === file.tensors.size) return file;
  const tensors = new Map(
    [...plain].map(([name, info]): [string, TensorInfo] => {
      const count = info.shape.reduce((product, n) => product * n, 1);
      return [name, scales.has(name) ? { ...info, dtype: "F32", bytes: 4 * count } : info];
    }),
  );
  const read: TensorFile["read"] = (name, range) => {
    const scale = scales.get(name);
    if (scale === undefined) return file.read(name, range);
    const { dtype } = file.tensors.get(name)!;
    const [start, end] = range ?? [0, tensors.get(name)!.bytes];
    const [first, last] = [Math.floor(start / 4), Math.ceil(end / 4)];
    const values = toFloat32(file.read(name, [first, last]), dtype, `${file.path}: ${name}`);
    for (let i = 0; i < values.length; i++) values[i] = values[i]! * scale;
    return new Uint8Array(values.buffer as ArrayBuffer).slice(start - 4 * first, end - 4 * first);
  };
  return {
    ...file,
    tensors,
    read,
    readFloat32: (name) => (scales.has(name) ? new Float32Array(read(name).buffer) : file.readFloat32(name)),
  };
}

/** A marker of a whole file, or what stands beside a weight that has a scale. */
function isMark({ tensors }: TensorFile, name: string): boolean {
  const module = marks.exec(name) && name.slice(0, name.lastIndexOf(".") + 1);
  return (
    name === "scaled_fp8" ||
    name.endsWith(".scaled_fp8") ||
    (typeof module === "string" && scaleNames.some((scale) => tensors.has(module + scale)))
  );
}

function scaleOf(file: TensorFile, name: string, weight: TensorInfo): number {
  const { shape } = file.tensors.get(name)!;
  const refuse = (what: string) =>
    new DiffusionError("UNSUPPORTED", `${file.path}: ${what}`, {
      hint: "8-bit floats (F8_E4M3, F8_E5M2) with one scale for each tensor can be read; others need the unpacked checkpoint.",
    });
  if (!/^F8_E[45]M[23]$/.test(weight.dtype))
    throw refuse(`${name} scales a weight that is stored as ${weight.dtype}`);
  if (shape.reduce((product, n) => product * n, 1) !== 1)
    throw refuse(`${name} has the shape [${shape}], not one value`);
  return file.readFloat32(name)[0]!;
}
