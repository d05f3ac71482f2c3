import { InvalidArgumentError } from "commander";
import { nearest } from "../errors.js";
import type { Margins } from "../image/outpaint.js";
import type { GenerateOptions } from "../index.js";
import type { Seed } from "../latents/rng.js";
import type { MaskArea } from "./jobs.js";

/** Readers of option values. They check the form; what a value may be is checked where it is used. */

export function readNumber(text: string): number {
  const number = Number(text);
  if (text.trim() !== "" && Number.isFinite(number)) return number;
  throw new InvalidArgumentError("Expected a number.");
}

export function readWholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`expected a whole number, got ${text}`);
  return Number(text);
}

/** Of a flag that may be given several times. */
export const collect = (value: string, all: readonly string[] = []): string[] => [...all, value];

/** Digits are a number, exact beyond 2^53 too; anything else is a text seed. */
export function readSeed(text: string): Seed {
  if (!/^-?\d+$/.test(text)) return text;
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
}

export function readSize(text: string): { width: number; height: number } {
  const [, width, height] = /^(\d+)\s*[x×*]\s*(\d+)$/i.exec(text.trim()) ?? [];
  if (!width || !height) throw new InvalidArgumentError("Expected WIDTHxHEIGHT, for example 320x192.");
  return { width: Number(width), height: Number(height) };
}

const sides = ["left", "top", "right", "bottom"] as const;

export function readMargins(text: string): Partial<Margins> {
  const entries = text.split(",").map((part) => {
    const [, side = "", pixels] = /^\s*([^=]*?)\s*=\s*(\d+)\s*$/.exec(part) ?? [];
    if (pixels === undefined)
      throw new InvalidArgumentError("Expected sides and pixels, for example left=128,bottom=128.");
    if (!sides.some((name) => name === side)) {
      const near = nearest(side, sides);
      throw new InvalidArgumentError(
        `There is no side ${side}${near ? ` (did you mean ${near}?)` : ""}; sides are ${sides.join(", ")}.`,
      );
    }
    return [side, Number(pixels)] as const;
  });
  return Object.fromEntries(entries);
}

/** "40,0,176,96": a rectangle in pixels. */
export function readArea(text: string): MaskArea {
  const numbers = text.split(",").map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : Number.NaN));
  const [left = 0, top = 0, width = 0, height = 0] = numbers;
  if (numbers.length !== 4 || numbers.includes(Number.NaN) || width === 0 || height === 0)
    throw new InvalidArgumentError("Expected left, top, width and height, for example 40,0,176,96.");
  return { left, top, width, height };
}

/** "0.2,0.8": where the run begins and ends something. */
export function readInterval(text: string): [start: number, end: number] {
  const shares = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const [start = Number.NaN, end = Number.NaN] = shares;
  if (shares.length !== 2 || !(start >= 0 && start < end && end <= 1))
    throw new InvalidArgumentError("Expected two growing shares from 0 to 1, for example 0.2,0.8.");
  return [start, end];
}

/** The four factors of FreeU: "1.5,1.6,0.9,0.2". */
export function readFreeU(text: string): NonNullable<GenerateOptions["freeu"]> {
  const factors = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const [b1, b2, s1, s2] = factors;
  if (factors.length !== 4 || !factors.every((factor) => factor >= 0 && factor <= 10))
    throw new InvalidArgumentError("Expected four factors from 0 to 10, for example 1.5,1.6,0.9,0.2.");
  return { b1: b1!, b2: b2!, s1: s1!, s2: s2! };
}

/** Perturbed attention guidance: "3", or with layers "3:mid,up_blocks.1". */
export function readPag(text: string): NonNullable<GenerateOptions["pag"]> {
  const [, number = "", names] = /^([^:]*)(?::([^:]+))?$/.exec(text) ?? [];
  const scale = number.trim() === "" ? Number.NaN : Number(number);
  const layers = names?.split(",").map((name) => name.trim());
  if (!(scale >= 0 && scale <= 100) || layers?.includes(""))
    throw new InvalidArgumentError("Expected a scale from 0 to 100, for example 3, or 3:mid,up_blocks.1.");
  return { scale, ...(layers && { layers }) };
}

const hourMs = 3600 * 1000;
const unitMs: Record<string, number> = { h: hourMs, d: 24 * hourMs, w: 7 * 24 * hourMs };

/** "30d" in milliseconds. */
export function readAge(text: string): number {
  const [, amount, unit] = /^(\d+)\s*([hdw])$/i.exec(text.trim()) ?? [];
  if (!amount || !unit) throw new InvalidArgumentError("Expected hours, days or weeks, for example 30d.");
  return Number(amount) * unitMs[unit.toLowerCase()]!;
}
