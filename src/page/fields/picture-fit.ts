import type { ModelView } from "../server.js";

export interface Extent {
  readonly width: number;
  readonly height: number;
}

/** Of a model that is not known yet. */
const unknownModel = { size: 512, factor: 8 };
export type Drawn = Pick<ModelView, "size" | "factor">;

/** Pictures a little larger than the model's own are drawn well, too. */
const tolerance = 1.25;

const multiple = (length: number, of: number): number => Math.max(of, Math.round(length / of) * of);

/** How many times as many pixels as the model was trained on. */
export const excess = ({ width, height }: Extent, { size }: Drawn = unknownModel): number =>
  (width * height) / size ** 2;

export const isLarge = (picture: Extent, model: Drawn = unknownModel): boolean =>
  excess(picture, model) > tolerance;

/** The same shape in as many pixels as the model was trained on. */
export function fitted({ width, height }: Extent, { size, factor }: Drawn = unknownModel): Extent {
  const scale = size / Math.sqrt(width * height);
  return { width: multiple(width * scale, factor), height: multiple(height * scale, factor) };
}

/** Width to height of the shapes that people ask for. */
export const shapes = ["1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16"] as const;
export type Shape = (typeof shapes)[number];

/** A shape in about as many pixels as the model was trained on: sides that networks halve without a rest are preferred. */
export function sizeOfShape(shape: Shape, { size, factor }: Drawn = unknownModel): Extent {
  const [across, down] = shape.split(":").map(Number) as [number, number];
  const most = Math.min(size >= 512 ? 8 : 4, size / factor / 8);
  const step = factor * Math.max(1, Math.floor(most));
  const ratio = across / down;
  let best = fitted({ width: across, height: down }, { size, factor });
  let least = Number.POSITIVE_INFINITY;
  for (let width = step; width <= 4 * size; width += step) {
    const height = multiple(width / ratio, step);
    const pixels = (width * height) / size ** 2;
    const cost = Math.abs(Math.log(width / height / ratio)) + 0.1 * Math.abs(Math.log(pixels));
    if (pixels > 0.7 && pixels < 1.2 && cost < least) [best, least] = [{ width, height }, cost];
  }
  return best;
}

/** What sides can be typed; small models are drawn with sides below 64. */
export const sideRange = ({ size, factor }: Drawn = unknownModel) => ({
  min: Math.min(64, factor * Math.ceil(size / 2 / factor)),
  max: 2048,
  step: factor,
});

export interface OfferedShape extends Extent {
  readonly shape: Shape;
}

/** The shapes with their sizes; where a small model's sides make two of them one size, only the nearer one is offered. */
export function offeredShapes(model: Drawn = unknownModel): readonly OfferedShape[] {
  const all = shapes.map((shape) => ({ shape, ...sizeOfShape(shape, model) }));
  const distance = ({ shape, width, height }: OfferedShape) => {
    const [across, down] = shape.split(":").map(Number) as [number, number];
    return Math.abs(Math.log((width * down) / (height * across)));
  };
  const isNearest = (one: OfferedShape) =>
    all
      .filter(({ width, height }) => width === one.width && height === one.height)
      .every((other) => distance(one) <= distance(other));
  return all.filter(isNearest);
}

/** "3:2" where two small numbers say it, else "1.46:1". */
export function shapeName({ width, height }: Extent): string {
  for (let down = 1; down <= 16; down++) {
    const across = Math.round((width / height) * down);
    if (across > 0 && across <= 32 && across * height === width * down) return `${across}:${down}`;
  }
  return width >= height ? `${(width / height).toFixed(2)}:1` : `1:${(height / width).toFixed(2)}`;
}
