import { sources } from "../settings.js";
import { createStore } from "../store.js";
import type { Extent } from "./picture-fit.js";

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** One movement of the brush, in pixels of the picture. */
export interface Line {
  readonly tool: "brush" | "eraser";
  readonly size: number;
  readonly points: Point[];
}

/** A movement, a turning of the whole mask inside out, the end of all of it, or a mask that was there before. */
export type Stroke =
  | Line
  | { readonly tool: "invert" }
  | { readonly tool: "clear" }
  | { readonly tool: "restore"; readonly mask: HTMLCanvasElement };

export interface MaskWork {
  readonly image: string;
  readonly strokes: readonly Stroke[];
  /** What was undone and can be done again; the last one first. */
  readonly undone: readonly Stroke[];
}

/** What was painted on a picture; it stays while other tabs are open. */
export const maskWork = createStore<MaskWork>({ image: "", strokes: [], undone: [] });

function canvasOf(width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return canvas;
}

/** Looks at every pixel: such a canvas stays out of the graphics card. */
const readable = (canvas: HTMLCanvasElement): CanvasRenderingContext2D =>
  canvas.getContext("2d", { willReadFrequently: true })!;

const scratch = document.createElement("canvas");

/**
 * The line in white on a canvas no larger than it, with edges as hard as the mask's: what half covers a pixel covers it,
 * what covers less does not.
 */
function hardLine({ size, points }: Line, { width, height }: Extent): Point {
  const reach = size / 2 + 1;
  const within = (value: number, most: number) => Math.min(most, Math.max(0, Math.round(value)));
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const left = within(Math.min(...xs) - reach, width - 1);
  const top = within(Math.min(...ys) - reach, height - 1);
  const right = within(Math.max(...xs) + reach, width);
  const bottom = within(Math.max(...ys) + reach, height);
  Object.assign(scratch, { width: Math.max(1, right - left), height: Math.max(1, bottom - top) });
  const context = readable(scratch);
  context.translate(-left, -top);
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = "white";
  context.lineWidth = size;
  context.beginPath();
  const [first] = points;
  context.moveTo(first!.x, first!.y);
  // A line of no length would not be drawn.
  context.lineTo(first!.x + 0.01, first!.y);
  for (const { x, y } of points) context.lineTo(x, y);
  context.stroke();
  const pixels = context.getImageData(0, 0, scratch.width, scratch.height);
  for (let at = 3; at < pixels.data.length; at += 4) pixels.data[at] = pixels.data[at]! < 128 ? 0 : 255;
  context.putImageData(pixels, 0, 0);
  return { x: left, y: top };
}

/** Shows the last movement of a line while it is drawn: only where it went, so that large pictures take no longer. */
export function showEnd(canvas: HTMLCanvasElement, { tool, size, points }: Line, tint: string): void {
  const { x, y } = hardLine({ tool, size, points: points.slice(-2) }, canvas);
  const context = canvas.getContext("2d")!;
  context.globalCompositeOperation = "destination-out";
  context.drawImage(scratch, x, y);
  context.globalCompositeOperation = "source-over";
  if (tool === "eraser") return;
  const white = readable(scratch);
  white.resetTransform();
  white.globalCompositeOperation = "source-in";
  white.fillStyle = tint;
  white.fillRect(0, 0, scratch.width, scratch.height);
  context.drawImage(scratch, x, y);
}

/** Adds a stroke to a mask, which is white on nothing: what is white will be repainted. */
function addStroke(canvas: HTMLCanvasElement, stroke: Stroke): void {
  const context = canvas.getContext("2d")!;
  const { width, height } = canvas;
  switch (stroke.tool) {
    case "clear":
      context.clearRect(0, 0, width, height);
      break;
    case "invert":
      context.globalCompositeOperation = "xor";
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      break;
    case "restore":
      context.drawImage(stroke.mask, 0, 0);
      break;
    default: {
      const { x, y } = hardLine(stroke, canvas);
      context.globalCompositeOperation = stroke.tool === "brush" ? "source-over" : "destination-out";
      context.drawImage(scratch, x, y);
    }
  }
  context.globalCompositeOperation = "source-over";
}

let painted = { strokes: [] as readonly Stroke[], canvas: canvasOf(0, 0) };

/** The mask as it is now; a stroke more is added to what was painted before, anything else is painted anew. */
export function paintedMask(strokes: readonly Stroke[], { width, height }: Extent): HTMLCanvasElement {
  const before = painted.strokes;
  const goesOn =
    painted.canvas.width === width &&
    painted.canvas.height === height &&
    before.every((stroke, i) => stroke === strokes[i]);
  const canvas = goesOn ? painted.canvas : canvasOf(width, height);
  readable(canvas);
  for (const stroke of goesOn ? strokes.slice(before.length) : strokes) addStroke(canvas, stroke);
  painted = { strokes, canvas };
  return canvas;
}

/** Whether anything of a mask is white. */
function isEmpty(mask: HTMLCanvasElement): boolean {
  const { data } = readable(mask).getImageData(0, 0, mask.width, mask.height);
  for (let at = 3; at < data.length; at += 4) if (data[at]! > 0) return false;
  return true;
}

/** White on black, for the server; empty where nothing is painted. */
function maskUrl(mask: HTMLCanvasElement): string {
  if (isEmpty(mask)) return "";
  const canvas = canvasOf(mask.width, mask.height);
  const context = canvas.getContext("2d")!;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(mask, 0, 0);
  return canvas.toDataURL("image/png");
}

/** Holds what is painted, and what the server is to get of it. */
export function keepStrokes(work: MaskWork): void {
  maskWork.set(work);
  sources.update({ mask: maskUrl(paintedMask(work.strokes, sources.get())) });
}

/** A picture by its address, also a data: URL, which the page's policy lets nobody fetch. */
export async function decodedImage(url: string): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** Puts an earlier mask, white on black, over the picture that is being worked on. */
export async function restoreMask(file: Blob | string): Promise<void> {
  const url = typeof file === "string" ? file : URL.createObjectURL(file);
  const before = await decodedImage(url);
  const { image, width, height } = sources.get();
  const mask = canvasOf(width, height);
  const context = readable(mask);
  context.drawImage(before, 0, 0, width, height);
  if (url !== file) URL.revokeObjectURL(url);
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const light = pixels.data[at]!;
    pixels.data.fill(255, at, at + 3);
    pixels.data[at + 3] = light;
  }
  context.putImageData(pixels, 0, 0);
  keepStrokes({ image, strokes: [{ tool: "restore", mask }], undone: [] });
}
