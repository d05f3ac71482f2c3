import { z } from "zod";

/* Kinds of values that several options take. */

/** From 0 to 1. */
export const share = z.number().min(0).max(1);
export const whole = z.number().int();
export const size = z.strictObject({ width: whole.min(1), height: whole.min(1) });
export const seed = z.union([z.number(), z.bigint(), z.string()]);

/** Checked where it is read. */
export const given = <T>() =>
  z.custom<T>((value) => value !== null && value !== undefined, { error: "expected a value" });

/** Plain numbers and their shape, of so many sides. */
export const values = (rank: number) =>
  z.strictObject({ shape: z.array(whole.min(1)).length(rank), data: z.instanceof(Float32Array) });
