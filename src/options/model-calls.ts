import { z } from "zod";
import { promptSyntaxes } from "./choices.js";
import { check } from "./load.js";

/* Options of what is asked of a loaded model beside pictures. A misspelled one would change a picture without a word. */

const text = z.string({ error: "text" }).optional();
/** Checked where it is read: a number, or one for each block. */
const scale = z.unknown().optional();

const encoding = z.strictObject({
  prompt2: text,
  promptSyntax: z.enum(promptSyntaxes, { error: promptSyntaxes.join(", ") }).optional(),
  clipSkip: z.int({ error: "a whole number" }).min(0, { error: "at least 0" }).optional(),
});
const lora = z.strictObject({ name: text, scale });
const learnedWord = z.strictObject({ word: text });
const ipAdapter = z.strictObject({ name: text, imageEncoder: text });
const noiseSize = z.strictObject({ width: z.unknown().optional(), height: z.unknown().optional() });

/** @throws DiffusionError BAD_OPTION, as all of these, for options that are unknown or of the wrong kind */
export const checkEncodeOptions = (options: object): void => check(encoding, options);
export const checkLoraOptions = (options: object): void => check(lora, options);
export const checkWordOptions = (options: object): void => check(learnedWord, options);
export const checkIpAdapterOptions = (options: object): void => check(ipAdapter, options);
export const checkNoiseSize = (size: object): void => check(noiseSize, size);
