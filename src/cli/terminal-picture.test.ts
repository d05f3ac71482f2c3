import { expect, test } from "vitest";
import { decodePng } from "../image/png.js";
import { type Graphics, type Terminal, terminalOf, terminalPicture } from "./terminal-picture.js";

const [red, blue] = [
  [255, 0, 0],
  [0, 0, 255],
];
/** Red above, blue below. */
const image = {
  width: 64,
  height: 64,
  data: Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i < 64 * 32 * 3 ? red : blue)![i % 3]!),
};
const shown = (graphics: Graphics, more: Partial<Terminal> = {}) =>
  terminalPicture(image, { graphics, columns: 80, rows: 50, depth: 24, ...more });

/** With signs in place of what would steer the terminal of the test. */
const readable = (text: string) => text.replaceAll("\x1b", "␛").replaceAll("\x07", "␇");

test("half blocks: two pixels a character, 40 columns at most, and no higher than the terminal", () => {
  const lines = shown("blocks").trimEnd().split("\n");
  expect(lines).toHaveLength(20);
  expect(lines[0]!.match(/▀/g)).toHaveLength(40);
  expect(lines[0]).toContain("\x1b[38;2;255;0;0;48;2;255;0;0m▀");
  expect(lines.at(-1)).toContain("\x1b[38;2;0;0;255;48;2;0;0;255m▀");
  expect(lines.every((line) => line.endsWith("\x1b[0m"))).toBe(true);
  expect(shown("blocks", { columns: 10 }).trimEnd().split("\n")).toHaveLength(5);
  expect(shown("blocks", { rows: 12 }).trimEnd().split("\n")).toHaveLength(10);
  expect(shown("blocks", { depth: 8 })).toContain("\x1b[38;5;196;48;5;196m▀");
});

test("kitty: the PNG in base64, in pieces of at most 4096 characters, and only the last says that it is the last", () => {
  // Without a period, or the PNG would be small enough for one piece.
  let state = 1;
  const byte = () => {
    state = (state * 48271) % 2147483647;
    return state & 255;
  };
  const noise = { width: 64, height: 64, data: Uint8Array.from({ length: 64 * 64 * 3 }, byte) };
  const text = terminalPicture(noise, { graphics: "kitty", columns: 80, rows: 50, depth: 24 });
  const pieces = [...readable(text).matchAll(/␛_G([^;]*);([^␛]*)␛\\/g)];
  expect(pieces.length).toBeGreaterThan(1);
  expect(pieces[0]![1]).toBe("a=T,f=100,q=2,c=40,m=1");
  expect(pieces.slice(1).map(([, keys]) => keys)).toEqual([...Array(pieces.length - 2).fill("m=1"), "m=0"]);
  expect(pieces.every(([, , data]) => data!.length <= 4096)).toBe(true);
  const png = Buffer.from(pieces.map(([, , data]) => data).join(""), "base64");
  expect(decodePng(png).image).toEqual(noise);
});

test("iTerm2 and sixel", () => {
  const pattern = /^␛]1337;File=inline=1;size=(\d+);width=40;preserveAspectRatio=1:([^␇]+)␇\n$/;
  const [, size, data] = pattern.exec(readable(shown("iterm2"))) ?? [];
  const png = Buffer.from(data!, "base64");
  expect(png).toHaveLength(Number(size));
  expect(decodePng(png).image).toEqual(image);
  expect(readable(shown("sixel"))).toMatch(/^␛P0;.*q"1;1;320;320/);
});

test("what a terminal can is told by its environment; a file and a terminal without colours show nothing", () => {
  const stream = (isTTY: boolean, depth = 24) =>
    ({ isTTY, columns: 100, rows: 30, getColorDepth: () => depth }) as unknown as NodeJS.WriteStream;
  expect(terminalOf(stream(false), {})).toBeUndefined();
  expect(terminalOf(stream(true, 1), {})).toBeUndefined();
  expect(terminalOf(stream(true), {})).toEqual({ graphics: "blocks", columns: 100, rows: 30, depth: 24 });
  expect(terminalOf(stream(true), { TMUX: "/run/tmux" })?.graphics).toBe("blocks");
});
