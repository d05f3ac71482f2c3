import { DiffusionError } from "../errors.js";

/** What stands beside weights that a library has packed as whole numbers, by the ends of the names. */
const packings: readonly (readonly [mark: RegExp, what: string])[] = [
  [/\.quant_state\.bitsandbytes__nf4$/, "bitsandbytes (NF4)"],
  [/\.quant_state\.bitsandbytes__fp4$/, "bitsandbytes (FP4)"],
  [/\.absmax$/, "bitsandbytes (four bits, NF4 or FP4)"],
  [/\.SCB$/, "bitsandbytes (eight bits, LLM.int8)"],
];

/** What has packed weights of a file, in words; undefined where nothing tells of it. */
function packedBy(names: Iterable<string>): string | undefined {
  const all = [...names];
  return packings.find(([mark]) => all.some((name) => mark.test(name)))?.[1];
}

const hint =
  "Weights as whole numbers are quantised in a way of their own; get the model in F32, F16, BF16, 8-bit floats or GGUF.";

/**
 * Refuses files of packed weights by what packed them: their shapes are not those of the weights.
 *
 * @throws DiffusionError UNSUPPORTED, without the name of the file
 */
export function refusePacked(names: Iterable<string>): void {
  const what = packedBy(names);
  if (!what) return;
  const message = `its weights are quantised by ${what}, which cannot be read`;
  throw new DiffusionError("UNSUPPORTED", message, { hint });
}

/** The error for a weight that is no number with a point. @param stored names of all tensors of its file */
export function notFloat(
  path: string,
  { name, dtype }: { readonly name: string; readonly dtype: string },
  stored: Iterable<string>,
): DiffusionError {
  const what = packedBy(stored);
  const by = what ? `, quantised by ${what}` : "";
  const message = `${path}: the weight ${name} is stored as ${dtype}${by}, which cannot be read`;
  return new DiffusionError("UNSUPPORTED", message, { hint });
}
