import { DiffusionError } from "../errors.js";
import type { Shape } from "../ops/ops.js";
import type { RrdbConfig } from "./rrdb.js";
import type { SrvggConfig } from "./srvgg.js";

/** A network that enlarges pictures; there is no config file, so all of it is read off the weights. */
export type UpscalerConfig = RrdbConfig | SrvggConfig;

type Tensors = ReadonlyMap<string, { readonly shape: Shape }>;

/**
 * @param tensors with the names of BasicSR's RRDBNet or SRVGGNetCompact
 * @throws DiffusionError MODEL_KIND, UNSUPPORTED
 */
export function upscalerConfig(tensors: Tensors, file: string): UpscalerConfig {
  if (tensors.has("conv_first.weight") && tensors.has("body.0.rdb1.conv1.weight"))
    return rrdbConfig(tensors, file);
  if (tensors.get("body.0.weight")?.shape.length === 4) return srvggConfig(tensors, file);
  throw new DiffusionError("MODEL_KIND", `${file} holds no upscaler that is known`, {
    hint: `ESRGAN (RRDB) and SRVGGNetCompact are known; it holds ${[...tensors.keys()].slice(0, 6).join(", ")}`,
  });
}

function rrdbConfig(tensors: Tensors, file: string): RrdbConfig {
  const shape = shapes(tensors, file);
  const [features, inputs] = shape("conv_first.weight");
  const [outputs] = shape("conv_last.weight");
  const enlargements = numbered(tensors, /^conv_up(\d+)\.weight$/, file);
  const shuffle = Math.sqrt(inputs! / outputs!);
  requireColours(file, outputs!);
  // Weights of scales 2 and 3 have the same shapes: what a file is for stands in its name only.
  const factor = enlargements === 1 && shuffle === 1 && saysThree(file) ? 3 : 2;
  const scale = factor ** enlargements / shuffle;
  if (!Number.isInteger(shuffle) || !Number.isInteger(scale))
    throw new DiffusionError("UNSUPPORTED", `${file}: an ESRGAN of ${inputs} channels in and ${outputs} out`);
  return {
    kind: "rrdb",
    scale,
    shuffle,
    features: features!,
    growth: shape("body.0.rdb1.conv1.weight")[0]!,
    blocks: numbered(tensors, /^body\.(\d+)\.rdb1\.conv1\.weight$/, file),
    enlargements,
    factor,
    plus: tensors.has("body.0.rdb1.conv1x1.weight"),
  };
}

/** As people name such files: 3x_Name, RealESRGAN_x3plus. */
const saysThree = (file: string): boolean =>
  /(^|[^0-9a-z])(3x|x3)([^0-9]|$)/i.test(file.replace(/^.*[/\\]/, ""));

function srvggConfig(tensors: Tensors, file: string): SrvggConfig {
  const shape = shapes(tensors, file);
  const layers = numbered(tensors, /^body\.(\d+)\.bias$/, file);
  const [features, inputs] = shape("body.0.weight");
  const [outputs] = shape(`body.${2 * (layers - 1)}.weight`);
  if (!tensors.has("body.1.weight"))
    throw new DiffusionError("UNSUPPORTED", `${file}: an SRVGGNetCompact without PReLU`, {
      hint: "its file does not say which activation it has instead",
    });
  requireColours(file, inputs!);
  const scale = Math.sqrt(outputs! / inputs!);
  if (!Number.isInteger(scale))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${file}: ${outputs} channels cannot be squares of ${inputs} colours`,
    );
  return { kind: "srvgg", scale, features: features!, convolutions: layers - 2 };
}

function requireColours(file: string, channels: number): void {
  if (channels !== 3)
    throw new DiffusionError(
      "UNSUPPORTED",
      `${file}: an upscaler for pictures of ${channels} channels, not of 3 colours`,
    );
}

const shapes =
  (tensors: Tensors, file: string) =>
  (name: string): Shape => {
    const found = tensors.get(name);
    if (!found) throw new DiffusionError("WEIGHT_MISSING", `${file} lacks ${name}`);
    return found.shape;
  };

/** Real-ESRGAN has 23 blocks, the compact networks up to 34 convolutions. */
const MOST_BLOCKS = 256;

/** How many there are. */
function numbered(tensors: Tensors, pattern: RegExp, file: string): number {
  const count = [...tensors.keys()].filter((name) => pattern.test(name)).length;
  if (count <= MOST_BLOCKS) return count;
  throw new DiffusionError("UNSUPPORTED", `${file}: an upscaler of ${count} blocks, at most ${MOST_BLOCKS}`);
}
