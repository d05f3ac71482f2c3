import type { Command } from "commander";
import type { Margins } from "../../image/outpaint.js";
import { defaultModels, type GenerateOptions, type LoadOptions, type Seed } from "../../index.js";
import { imageOptions } from "../../options/image-options.js";
import { loadOptions } from "../../options/load.js";
import type { NamesWith } from "../../options/options.js";
import { samplingOptions } from "../../options/sampling-options.js";
import { textOptions } from "../../options/text-options.js";
import {
  readArea,
  readFreeU,
  readInterval,
  readMargins,
  readNumber,
  readPag,
  readSeed,
  readSize,
} from "../arguments.js";
import type { MaskArea } from "../jobs.js";
import { addControlOptions, type ControlFlags } from "./control-flags.js";
import { type AddFlags, addOptionFlags } from "./option-flags.js";
import type { RefinerFlags } from "./refiner.js";

/** Options that are passed on under the name that they have in the API. */
type Passed = Omit<Pick<GenerateOptions, NamesWith<{ flag: string }>>, "seed"> &
  Pick<GenerateOptions, "image" | "mask"> &
  LoadOptions;

/** Option values as commander gives them, read by the functions in arguments.ts. */
export interface GenerateFlags extends Passed, ControlFlags, RefinerFlags {
  promptFile?: string;
  negative?: string;
  seed?: Seed;
  size?: { width: number; height: number };
  count?: number;
  scheduler?: string;
  variationSeed?: Seed;
  variationStrength?: number;
  hiresScale?: number;
  hiresSize?: { width: number; height: number };
  hiresStrength?: number;
  hiresSteps?: number;
  hiresUpscaler?: string;
  deepCache?: number;
  unload?: boolean;
  maskArea?: MaskArea;
  onlyMasked?: boolean;
  onlyMaskedPadding?: number;
  expand?: Partial<Margins>;
  model?: string;
  out?: string;
  force?: boolean;
  /** A file; false: the terminal shows no picture either. */
  preview?: string | false;
  quiet?: boolean;
  json?: boolean;
  debug?: boolean;
}

/** What the API's options are called here, and how their values are read. */
export function addGenerateOptions(command: Command): void {
  addPictureOptions(command);
  addImageOptions(command);
  addControlOptions(command);
  addOutputOptions(command);
  addModelOptions(command);
}

function addPictureOptions(command: Command): void {
  const byHand: Record<string, AddFlags> = {
    prompt: (command) => command.option("--prompt-file <file>", "one prompt, and picture, a line"),
    negativePrompt: (command) => command.option("--negative <text>", textOptions.negativePrompt.about),
    width: (command) =>
      command.option("--size <WxH>", "pixels, multiples of 8 (default: the model's own)", readSize),
    scheduler: (command) =>
      command.option("--scheduler <name>", "see the command schedulers (default: the model's own)"),
    deepCache: (command) => command.option("--deep-cache <n>", samplingOptions.deepCache.about, readNumber),
    count: (command) => command.option("--count <n>", samplingOptions.count.about, readNumber),
    variation: (command) =>
      command
        .option(
          "--variation-strength <share>",
          "0 to 1: turns the seed's noise towards another's",
          readNumber,
        )
        .option("--variation-seed <n>", "that other seed; picture i uses it + i (default: drawn)", readSeed),
  };
  command.optionsGroup("Picture:");
  const read = { seed: readSeed, guidanceInterval: readInterval, freeu: readFreeU, pag: readPag };
  addOptionFlags(command, { ...textOptions, ...samplingOptions }, byHand, read);
  command
    .option("--hires-scale <factor>", imageOptions.hires.about, readNumber)
    .option("--hires-size <WxH>", "in its place: cut from the middle where the proportions differ", readSize)
    .option("--hires-strength <share>", "of the second pass (default: 0.7)", readNumber)
    .option("--hires-steps <n>", "that the second pass runs (default: its share of the steps)", readNumber)
    .option(
      "--hires-upscaler <name>",
      "of the second pass: latent (default), lanczos, a file, … or as in a picture's text",
    );
}

function addImageOptions(command: Command): void {
  const byHand: Record<string, AddFlags> = {
    image: (command) =>
      command.option("--image <path>", "PNG, JPEG or WebP to start from, or a folder: each picture in it"),
    mask: (command) =>
      command
        .option(
          "--mask <path>",
          "white or transparent: repaint; or a folder, with a mask named like each picture",
        )
        .option("--mask-area <left,top,width,height>", "a rectangle in its place, in pixels", readArea),
    onlyMasked: (command) =>
      command
        .option("--only-masked", imageOptions.onlyMasked.about)
        .option("--only-masked-padding <pixels>", "how much of the surroundings", readNumber),
    expand: (command) =>
      command.option("--expand <margins>", "outpainting: pixels to add, left=128,bottom=128", readMargins),
  };
  command.optionsGroup("From an image:");
  addOptionFlags(command, imageOptions, byHand);
}

function addOutputOptions(command: Command): void {
  command
    .optionsGroup("Output:")
    .option("--out <path>", "PNG file, or a folder (default: named after the prompt)")
    .option("--force", "overwrite existing files, which otherwise stay: new ones get the next number")
    .option("--preview <file>", "PNG that shows the expected picture, small, after every step")
    .option("--no-preview", "a terminal does not show the pictures")
    .option("--quiet", "no progress");
}

function addModelOptions(command: Command): void {
  command
    .optionsGroup("Model and machine:")
    .option(
      "--model <model>",
      `folder, .safetensors file, owner/name on the hub, or ${defaultModels.join(", ")}`,
    )
    .option("--refiner <model>", "a second model, such as SDXL's refiner, that finishes the pictures")
    .option(
      "--refiner-switch <share>",
      "above 0 and below 1: where in the noise schedule it goes on (default: 0.8)",
      readNumber,
    );
  addOptionFlags(command, loadOptions, {
    keepLoaded: (command) =>
      command.option("--unload", "give the memory of each network back after its use; slower"),
  });
}
