import { DiffusionError } from "../errors.js";
import { nameOfModel } from "../hub/cache.js";
import { flatten } from "../image/convert.js";
import { grayscale } from "../image/filters.js";
import { cropContinued, type Image, type Mask } from "../image/image.js";
import { maskFromImage } from "../image/mask.js";
import { preprocess } from "../image/preprocess.js";
import { readImage } from "../image/read.js";
import { fitImage } from "../image/resize.js";
import { repeatBatch, rowsOf } from "../latents/batch.js";
import type { Values } from "../latents/latents.js";
import type { ResolvedControl } from "../options/resolved.js";
import { addResiduals, type ControlNet } from "../runtime/networks/controlnet.js";
import type { UNetInput } from "../runtime/networks/inputs.js";
import { addFeatures, type T2iAdapter } from "../runtime/networks/t2i-adapter.js";
import { actsAt } from "./guidance.js";
import { readMask } from "./inputs.js";
import { type PicturePrompt, picturesFor } from "./ip-adapter.js";
import type { Pass } from "./passes.js";

/** A ControlNet or T2I-Adapter, opened. */
export interface OpenedControl {
  readonly net: ControlNet | T2iAdapter;
  /** What its config holds that is not used. */
  readonly notes: readonly string[];
}

/** A ControlNet or T2I-Adapter of a generation, with the picture to follow. */
export interface Control extends Omit<ResolvedControl, "model" | "image" | "mask">, OpenedControl {
  readonly image: Image;
  /** As it came: alpha or luminance decides, see `maskFromImage`. */
  readonly mask?: Image | Mask;
}

export async function readControl(control: ResolvedControl, { net, notes }: OpenedControl): Promise<Control> {
  const { model, image, mask, ...rest } = control;
  for (const name of ["guess", "mask"] as const)
    if (control[name] && net.kind === "t2i_adapter")
      throw new DiffusionError("BAD_OPTION", `${name} is for ControlNets, ${model} is a T2I-Adapter`);
  return {
    ...{
      net,
      image: flatten(await readImage(image)),
      notes: [...notes, ...holesNote(control, net)],
      ...rest,
    },
    ...(mask !== undefined && { mask: await readMask(mask) }),
  };
}

/** Nothing but the name tells a ControlNet for inpainting, which is trained on pictures with holes: -1 in all channels. */
const holesNote = ({ model, mask }: ResolvedControl, { kind }: Control["net"]): string[] =>
  kind === "controlnet" && mask === undefined && /inpaint/i.test(model)
    ? [
        `${nameOfModel(model)} is for inpainting, by its name, and its controlnet entry has no mask, which says where holes are: it is shown the whole picture`,
      ]
    : [];

/** What a pass sees of pictures to follow. */
type Seen = Pick<Pass, "size" | "part">;

/** What ControlNets, T2I-Adapters and IP-Adapters add to the UNet's inputs at an evaluation, given them and which rows they are. */
export interface Controls {
  add(
    input: UNetInput,
    evaluation: number,
    asked: readonly number[],
  ): Promise<Pick<UNetInput, "residuals" | "features" | "pictures">>;
  /** Says whether each of them acts at an evaluation: the same text where the same ones do. */
  acting(evaluation: number): string;
}

/**
 * @param rows of the batch; a guess sees only those of the prompt
 * @param evaluations from the first to the last timestep, for `start` and `end`
 */
export function controlsFor(
  { controls, pictures }: { controls: readonly Control[]; pictures: readonly PicturePrompt[] },
  rows: readonly { readonly negative: boolean }[],
  { pass, evaluations }: { pass: Seen; evaluations: number },
): Controls {
  const residuals = controlNets(controls, rows, pass);
  const features = t2iAdapters(controls, pass);
  const seenBy = picturesFor(pictures, rows, evaluations);
  return {
    async add(input, evaluation, asked) {
      const acting = new Set(controls.filter((control) => actsAt(control, evaluation, evaluations)));
      const [added, seen] = [await residuals(acting, input, asked), await features(acting, asked.length)];
      return {
        ...(added && { residuals: added }),
        ...(seen && { features: seen }),
        ...seenBy(evaluation, asked),
      };
    },
    acting: (evaluation) =>
      [...controls, ...pictures].map((one) => actsAt(one, evaluation, evaluations)).join(),
  };
}

function controlNets(
  controls: readonly Control[],
  rows: readonly { readonly negative: boolean }[],
  pass: Seen,
) {
  const nets = controls.flatMap((control) =>
    control.net.kind === "controlnet" ? [{ control, net: control.net, picture: shown(control, pass) }] : [],
  );
  return async (acting: ReadonlySet<Control>, input: UNetInput, asked: readonly number[]) => {
    const all = asked.map((_, i) => i);
    const prompted = all.filter((i) => !rows[asked[i]!]!.negative);
    const found: Values[][] = [];
    for (const { control, net, picture } of nets) {
      if (!acting.has(control)) continue;
      const guess = control.guess || net.config.globalPool;
      const picked = guess ? prompted : all;
      const image = repeatBatch(picture, picked.length);
      const residuals = await net.run({ ...pick(input, picked, net), image, scale: control.scale, guess });
      found.push(
        picked.length === all.length ? residuals : residuals.map((r) => spread(r, picked, all.length)),
      );
    }
    return found.length > 0 ? addResiduals(found) : undefined;
  };
}

/** Their features do not depend on the step: each adapter is run once, and what some add up to is kept. */
function t2iAdapters(controls: readonly Control[], pass: Seen) {
  const features = new Map<Control, Promise<readonly Values[]>>();
  const run = (control: Control, net: T2iAdapter): Promise<readonly Values[]> => {
    const { factor, inChannels } = net.config;
    const up = (side: number) => Math.ceil(side / factor) * factor;
    const { width, height } = pass.size;
    const picture = pictureOf(control, pass, { width: up(width), height: up(height) });
    return net.run(pixels(inChannels === 1 ? grayscale(picture) : picture));
  };
  let kept: { readonly key: string; readonly sums: Values[] } | undefined;
  return async (acting: ReadonlySet<Control>, batch: number): Promise<Values[] | undefined> => {
    const key = `${controls.map((control) => acting.has(control))} ${batch}`;
    if (kept?.key === key) return kept.sums;
    const parts: { features: readonly Values[]; scale: number }[] = [];
    for (const control of acting) {
      if (control.net.kind !== "t2i_adapter") continue;
      const found = features.get(control) ?? run(control, control.net);
      features.set(control, found);
      parts.push({ features: await found, scale: control.scale });
    }
    if (parts.length === 0) return undefined;
    kept = { key, sums: addFeatures(parts).map((sum) => repeatBatch(sum, batch)) };
    return kept.sums;
  };
}

const pictureOf = ({ image, preprocess: steps }: Control, pass: Seen, size = pass.size): Image =>
  preprocess(fitImage(seen(image, pass), size, "stretch"), steps);

/**
 * What of a picture to follow a pass sees: all of it, or of its part of the whole picture what lies there, cropped and
 * scaled as the picture itself is (diffusers' padding_mask_crop, the web UI's "only masked").
 */
function seen(image: Image, { size, part }: Seen): Image {
  if (!part) return image;
  return fitImage(cropContinued(fitImage(image, part.whole, "stretch"), part.region), size, "fill");
}

/** What a ControlNet is shown; holes are -1, as diffusers' example for inpainting and the web UI's extension have them. */
function shown(control: Control, pass: Seen): Values {
  const picture = pixels(pictureOf(control, pass));
  if (!control.mask) return picture;
  const levels = maskFromImage(fitImage(seen(control.mask, pass), pass.size, "stretch")).data;
  const channels = picture.shape.at(-1)!;
  const data = picture.data.map((value, i) => (levels[Math.floor(i / channels)]! >= 128 ? -1 : value));
  return { ...picture, data };
}

/** A picture as [1, H, W, 3] in [0, 1], or of one channel. */
const pixels = ({ width, height, data }: Image | Mask): Values => ({
  shape: [1, height, width, data.length / (width * height)],
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

function firstChannels(values: Values, count: number): Values {
  const channels = values.shape.at(-1)!;
  if (channels <= count) return values;
  const data = values.data.filter((_, i) => i % channels < count);
  return { shape: [...values.shape.slice(0, -1), count], data };
}
