import type { OpenedControl } from "../generation/control.js";
import { runsFor } from "../generation/enlarge.js";
import type { Loaded } from "../generation/loaded.js";
import type { Pass } from "../generation/passes.js";
import { passesOf } from "../generation/plan.js";
import { tilesFor } from "../generation/upscale.js";
import type { Size } from "../image/image.js";
import { conditioningFactor } from "../models/controlnet.js";
import { buildNetwork, type NetworkKind, type SpecOf } from "../models/registry.js";
import type { UNetSize } from "../models/unet.js";
import type { UpscalerConfig } from "../models/upscaler-config.js";
import type { WholeOptions } from "../options/resolved.js";
import { largestTile } from "../runtime/networks/upscaler.js";
import { countNumbers, requirements } from "../runtime/requirements.js";

/** What a generation computes with: all that decides about the memory that it takes. */
export interface Computed {
  readonly loaded: Loaded;
  readonly options: WholeOptions;
  /** Of the picture that is started from. */
  readonly imageSize?: Size;
  /** The rows of the UNet's batch; none for models without a text encoder. */
  readonly rows: readonly { readonly negative: boolean }[];
  /** How many samples of a batch are computed at a time; absent: all of them, as one. */
  readonly sideBySide?: number;
  readonly controls: readonly { readonly net: OpenedControl["net"]; readonly guess: boolean }[];
  /** Tokens of each IP-Adapter's pictures. */
  readonly pictures: readonly number[];
  /** The network that enlarges between two passes. */
  readonly upscaler?: UpscalerConfig;
}

const FLOAT = 4;

/**
 * What the process that computes holds at its peak, for each float that goes into and comes out of the largest operation
 * of a UNet or of what is built like one. Measured on emoji-diffusion-256 from 512 to 1536 pixels: 7.7 to 9.8 floats at
 * the larger ones. The lower end, so that nothing is refused that would fit.
 */
const HELD = 8;

/** The picture itself: floats of three channels as they come from the VAE, blended, and before they are bytes. */
const BYTES_PER_PIXEL = 3 * 3 * FLOAT;

/** What is held at least at the peak of a generation, in bytes. The VAE works in tiles that do not grow with the picture. */
export function peakOf(computed: Computed): number {
  const { options, loaded, imageSize } = computed;
  const { width, height, hires } = options;
  const passes = passesOf({ options, traits: loaded.traits }, imageSize);
  const result = hires ?? { width, height };
  return (
    Math.max(0, enlargement(computed), ...passes.map((pass) => evaluation(computed, pass))) +
    result.width * result.height * BYTES_PER_PIXEL
  );
}

/** One evaluation of the UNet and what stands beside it. They run one after the other, and hand over what they add. */
function evaluation(computed: Computed, pass: Pass): number {
  const cells = cellsAtOnce(computed, pass);
  const { unet } = computed.loaded.model;
  const rows = Math.max(1, computed.rows.length);
  if (unet.kind === "unconditional_unet") return held({ ...unet, size: { batch: rows, ...cells } });
  if (unet.kind === "k_unet") return held({ ...unet, size: { batch: rows, ...cells, tokens: TOKENS } });
  const size = unetSize(computed, { batch: rows, ...cells });
  const added = addedTo({ kind: "unet", config: unet.config, size });
  const controls = computed.controls.map((control) =>
    controlOf(computed, control, { batch: rows, ...cells }),
  );
  const { sideBySide = rows } = computed;
  const apart = Math.min(rows, sideBySide) / rows;
  const network = held({ kind: "unet", config: unet.config, size });
  // What each of them adds is held by the caller until all of it is added up, and then by the network that it is for.
  const copies = computed.controls.length > 0 ? computed.controls.length + 1 : 0;
  return Math.max(network * apart, ...controls) + added * copies * FLOAT;
}

/** Of a prompt, where it is not longer. */
const TOKENS = 77;

/** The UNet's, with what the generation adds to its inputs. */
function unetSize(
  { options, controls, pictures }: Computed,
  size: Pick<UNetSize, "batch" | "height" | "width">,
): UNetSize {
  const nets = controls.map(({ net }) => net);
  const features = Math.max(
    0,
    ...nets.map((net) => (net.kind === "t2i_adapter" ? net.config.blocks.length : 0)),
  );
  const { tokenMerging: mergeTokens } = options;
  return {
    ...size,
    tokens: TOKENS,
    ...(mergeTokens !== undefined && { mergeTokens }),
    ...(nets.some(({ kind }) => kind === "controlnet") && { residuals: true }),
    ...(features > 0 && { features }),
    ...(pictures.length > 0 && { pictures }),
  };
}

/** Numbers that ControlNets and T2I-Adapters add to the UNet's inputs. */
function addedTo(spec: SpecOf<"unet">): number {
  const { residuals = [], features = [] } = buildNetwork(spec).inputs;
  return countNumbers({ residuals, features });
}

/** A ControlNet sees the rows that the UNet does, unless it guesses; a T2I-Adapter the picture alone. */
function controlOf(
  { rows, loaded }: Computed,
  { net, guess }: Computed["controls"][number],
  size: { readonly batch: number } & Size,
): number {
  const { width, height } = size;
  if (net.kind === "t2i_adapter") {
    const { config } = net;
    const squares = (cells: number) => Math.ceil((cells * loaded.traits.factor) / config.factor);
    return held({
      kind: "t2i_adapter",
      config,
      size: { batch: 1, height: squares(height), width: squares(width) },
    });
  }
  const { config } = net;
  const prompted = rows.filter(({ negative }) => !negative).length;
  const batch = guess || config.globalPool ? prompted : size.batch;
  const picture = batch * width * height * conditioningFactor(config) ** 2 * config.conditioningChannels;
  return held({ kind: "controlnet", config, size: { ...size, batch, tokens: TOKENS } }) + picture * FLOAT;
}

/** What the UNet is shown at a time: all of the pass's latents, or of an upscaler a tile of them. */
function cellsAtOnce({ loaded, options }: Computed, { size }: Pass): Size {
  const { model, traits } = loaded;
  const cells = { width: size.width / traits.factor, height: size.height / traits.factor };
  const { upscaling } = options;
  if (!upscaling) return cells;
  const { latentUpscaling } = traits;
  const plan = tilesFor(model, cells, upscaling, latentUpscaling && latentUpscaling.scale / traits.factor);
  const [tile] = plan?.tiles ?? [];
  return tile ? { width: tile.right - tile.left, height: tile.bottom - tile.top } : cells;
}

/** Between two passes: a network that enlarges the first one's picture, which becomes larger than it has to be. */
function enlargement({ options, upscaler }: Computed): number {
  const { hires, width, height } = options;
  return hires && upscaler ? enlargedBy(upscaler, { width, height }, hires) : 0;
}

/**
 * What enlarging a picture by a network takes at least, in bytes: its largest operation on a tile, and the enlarged picture
 * as floats and as bytes.
 *
 * @param goal it runs again until the picture is as large as that
 */
export function enlargedBy(config: UpscalerConfig, picture: Size, goal: Size): number {
  const by = config.scale ** runsFor(config, picture, goal);
  const result = { width: picture.width * by, height: picture.height * by };
  const side = largestTile(config);
  const multiple = config.kind === "rrdb" ? config.shuffle : 1;
  const tile = (pixels: number) => Math.ceil(Math.min(pixels / config.scale, side) / multiple) * multiple;
  const size = { batch: 1, height: tile(result.height), width: tile(result.width) };
  const { largest = 0 } =
    config.kind === "rrdb"
      ? requirements({ kind: config.kind, config, size })
      : requirements({ kind: config.kind, config, size });
  return largest * FLOAT + result.width * result.height * 3 * (FLOAT + 1);
}

/** Of a network, by a dry run, which follows the shapes only. */
const held = <Kind extends NetworkKind>(spec: SpecOf<Kind>): number =>
  (requirements(spec as SpecOf<NetworkKind>).largest ?? 0) * HELD * FLOAT;
