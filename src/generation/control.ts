import { flatten } from "../image/convert.js";
import type { Image, Size } from "../image/image.js";
import { readImage } from "../image/read.js";
import { fitImage } from "../image/resize.js";
import { rowsOf } from "../latents/channels.js";
import type { Values } from "../latents/latents.js";
import type { ControlInput } from "../options.js";
import { addResiduals, type ControlNet } from "../runtime/controlnet.js";
import type { UNetInput } from "../runtime/inputs.js";

/** A ControlNet of a call, with the picture to follow and its defaults filled in. */
export interface Control extends Required<Omit<ControlInput, "model" | "image">> {
  readonly net: ControlNet;
  readonly image: Image;
}

export async function readControl(input: ControlInput, net: ControlNet): Promise<Control> {
  const { scale = 1, start = 0, end = 1, guess = false } = input;
  return { net, image: flatten(await readImage(input.image)), scale, start, end, guess };
}

/** What ControlNets add to the UNet at a network call, given its inputs and which rows they are. */
export type Controls = (
  input: UNetInput,
  call: number,
  asked: readonly number[],
) => Promise<{ residuals?: Values[] }>;

/**
 * @param rows of the batch; a guess sees those of the prompt alone
 * @param calls from the first to the last timestep, for `start` and `end`
 */
export function controlsFor(
  controls: readonly Control[],
  rows: readonly { readonly negative: boolean }[],
  { size, calls }: { size: Size; calls: number },
): Controls {
  const pictures = controls.map(({ image }) => pixels(fitImage(image, size, "stretch")));
  return async (input, call, asked) => {
    const all = asked.map((_, i) => i);
    const prompted = all.filter((i) => !rows[asked[i]!]!.negative);
    const found: Values[][] = [];
    for (const [i, { net, scale, start, end, guess: asked }] of controls.entries()) {
      if (call / calls < start || (call + 1) / calls > end) continue;
      const guess = asked || net.config.globalPool;
      const picked = guess ? prompted : all;
      const image = repeated(pictures[i]!, picked.length);
      const residuals = await net.run({ ...pick(input, picked, net), image, scale, guess });
      found.push(
        picked.length === all.length ? residuals : residuals.map((r) => spread(r, picked, all.length)),
      );
    }
    return found.length > 0 ? { residuals: addResiduals(found) } : {};
  };
}

/** A picture as [1, H, W, 3] in [0, 1]. */
const pixels = ({ width, height, data }: Image): Values => ({
  shape: [1, height, width, 3],
  data: Float32Array.from(data, (level) => level / 255),
});

/** Some rows of the UNet's inputs, and of the sample those channels that the ControlNet has. */
function pick(input: UNetInput, rows: readonly number[], { config }: ControlNet): UNetInput {
  const { sample, context, added, timeCond, classLabels } = input;
  return {
    sample: rowsOf(firstChannels(sample, config.unet.inChannels), rows),
    timestep: input.timestep,
    ...(context && { context: rowsOf(context, rows) }),
    ...(added && {
      added: { textEmbeds: rowsOf(added.textEmbeds, rows), timeIds: rowsOf(added.timeIds, rows) },
    }),
    ...(timeCond && { timeCond: rowsOf(timeCond, rows) }),
    ...(classLabels && { classLabels: rows.map((row) => classLabels[row]!) }),
  };
}

/** The rows where they belong in the batch, zeros elsewhere. */
function spread({ shape, data }: Values, rows: readonly number[], batch: number): Values {
  const length = data.length / rows.length;
  const out = new Float32Array(length * batch);
  for (const [i, row] of rows.entries()) out.set(data.subarray(i * length, (i + 1) * length), row * length);
  return { shape: [batch, ...shape.slice(1)], data: out };
}

const repeated = (picture: Values, times: number): Values => rowsOf(picture, Array<number>(times).fill(0));

function firstChannels(values: Values, count: number): Values {
  const channels = values.shape.at(-1)!;
  if (channels <= count) return values;
  const data = values.data.filter((_, i) => i % channels < count);
  return { shape: [...values.shape.slice(0, -1), count], data };
}
