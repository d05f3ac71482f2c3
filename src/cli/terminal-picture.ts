import { image2sixel } from "sixel";
import { createSupportsTerminalGraphics } from "supports-terminal-graphics";
import { encodePng, type Image, resize } from "../index.js";

/** How a terminal can show a picture: by one of three protocols, or by characters of two colours each. */
export type Graphics = "kitty" | "iterm2" | "sixel" | "blocks";

/** What is known of a terminal. */
export interface Terminal {
  readonly graphics: Graphics;
  readonly columns: number;
  readonly rows: number;
  /** Bits of colour, as `getColorDepth` tells them. */
  readonly depth: number;
}

const mostColumns = 40;

/** The terminal behind a stream; undefined where there is none, or one without colours. */
export function terminalOf(stream: NodeJS.WriteStream, env = process.env): Terminal | undefined {
  if (!stream.isTTY) return undefined;
  const { columns = 80, rows = 24 } = stream;
  const depth = stream.getColorDepth(env);
  // A multiplexer keeps the protocols to itself.
  const can = env.TMUX || env.STY ? undefined : createSupportsTerminalGraphics(stream);
  const found = (["kitty", "iterm2", "sixel"] as const).find((name) => can?.[name]);
  if (!found && depth < 8) return undefined;
  return { graphics: found ?? "blocks", columns, rows, depth };
}

/** Shows a picture where standard output is a terminal that can. */
export function showPicture(image: Image): void {
  const terminal = terminalOf(process.stdout);
  if (terminal) process.stdout.write(terminalPicture(image, terminal));
}

/** A picture as text for a terminal, at most 40 columns wide and no higher than what the terminal shows at once. */
export function terminalPicture(image: Image, terminal: Terminal): string {
  const { columns, rows } = cellsOf(image, terminal);
  switch (terminal.graphics) {
    case "kitty":
      return kitty(encodePng(image), columns);
    case "iterm2":
      return iterm2(encodePng(image), columns);
    case "sixel": {
      // 8x16 pixels are the smallest cell that is usual.
      const { width, height, data } = resize(image, { width: columns * 8, height: rows * 16 });
      return `${image2sixel(rgbaOf({ width, height, data }), width, height)}\n`;
    }
    case "blocks":
      return blocks(resize(image, { width: columns, height: 2 * rows }), terminal.depth);
  }
}

/** A cell is twice as high as it is wide. */
function cellsOf({ width, height }: Image, terminal: Terminal): { columns: number; rows: number } {
  const most = Math.max(1, Math.min(mostColumns, terminal.columns));
  const columns = Math.max(1, Math.min(most, Math.floor((2 * (terminal.rows - 2) * width) / height)));
  return { columns, rows: Math.max(1, Math.round((columns * height) / (2 * width))) };
}

/** https://sw.kovidgoyal.net/kitty/graphics-protocol: base64 in pieces of 4096 characters, all but the last with m=1. */
function kitty(png: Uint8Array, columns: number): string {
  const pieces =
    Buffer.from(png)
      .toString("base64")
      .match(/.{1,4096}/g) ?? [];
  const sent = pieces.map((piece, i) => {
    const more = `m=${i < pieces.length - 1 ? 1 : 0}`;
    return `\x1b_G${i === 0 ? `a=T,f=100,q=2,c=${columns},` : ""}${more};${piece}\x1b\\`;
  });
  return `${sent.join("")}\n`;
}

/** https://iterm2.com/documentation-images.html */
const iterm2 = (png: Uint8Array, columns: number): string =>
  `\x1b]1337;File=inline=1;size=${png.length};width=${columns};preserveAspectRatio=1:${Buffer.from(png).toString("base64")}\x07\n`;

/** Two pixels in a character, the upper one as its colour, the lower one as what is behind it. */
function blocks({ width, height, data }: Image, depth: number): string {
  const channels = data.length / (width * height);
  const colour = (layer: 38 | 48, x: number, y: number) => {
    const at = (y * width + x) * channels;
    return `${layer};${colourCode(data.subarray(at, at + 3), depth)}`;
  };
  const lines = Array.from({ length: height / 2 }, (_, row) => {
    const cells = Array.from(
      { length: width },
      (_, x) => `\x1b[${colour(38, x, 2 * row)};${colour(48, x, 2 * row + 1)}m▀`,
    );
    return `${cells.join("")}\x1b[0m\n`;
  });
  return lines.join("");
}

/** 24 bits, or the nearest of the 6x6x6 colours that terminals of 256 have from 16 on. */
function colourCode([r = 0, g = 0, b = 0]: Uint8Array, depth: number): string {
  if (depth >= 24) return `2;${r};${g};${b}`;
  const level = (value: number) => Math.round((value / 255) * 5);
  return `5;${16 + 36 * level(r) + 6 * level(g) + level(b)}`;
}

function rgbaOf({ width, height, data }: Image): Uint8Array {
  if (data.length === width * height * 4) return data;
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
  return rgba;
}
