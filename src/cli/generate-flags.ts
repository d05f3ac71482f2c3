import { type Command, Option } from "commander";
import type { Margins } from "../image/outpaint.js";
import { defaultModels, type GenerateOptions, type LoadOptions, type Seed } from "../index.js";
import { readInterval, readMargins, readNumber, readSeed, readSize } from "./arguments.js";
import { addControlOptions, type ControlFlags } from "./control-flags.js";

/** Options that are passed on under the name that they have in the API. */
type Passed = Pick<
  GenerateOptions & LoadOptions,
  | "width"
  | "height"
  | "steps"
  | "guidance"
  | "guidanceInterval"
  | "guidanceRescale"
  | "tokenMerging"
  | "clipSkip"
  | "rng"
  | "eta"
  | "image"
  | "strength"
  | "mask"
  | "maskBlur"
  | "maskedContent"
  | "exactSteps"
  | "resizeMode"
  | "maskInvert"
  | "imageGuidance"
  | "expandStep"
  | "seamStrength"
  | "noiseLevel"
  | "promptSyntax"
  | "loraDir"
  | "vae"
  | "taesd"
  | "precision"
  | "runtime"
  | "threads"
  | "cacheDir"
  | "revision"
  | "offline"
>;

/** Option values as commander gives them, read by the functions in arguments.ts. */
export interface GenerateFlags extends Passed, ControlFlags {
  promptFile?: string;
  negative?: string;
  size?: { width: number; height: number };
  seed?: Seed;
  count?: number;
  scheduler?: string;
  variationSeed?: Seed;
  variationStrength?: number;
  hiresScale?: number;
  hiresStrength?: number;
  deepCache?: number;
  unload?: boolean;
  onlyMasked?: boolean;
  onlyMaskedPadding?: number;
  expand?: Partial<Margins>;
  model?: string;
  out?: string;
  force?: boolean;
  preview?: string;
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
  command
    .optionsGroup("Picture:")
    .option("--prompt-file <file>", "one prompt, and picture, a line")
    .option("--negative <text>", "what to keep away from")
    .addOption(
      new Option(
        "--prompt-syntax <name>",
        "how (x:1.3), [a:b:0.5], AND and BREAK are read (default: plain)",
      ).choices(["plain", "a1111", "compel"]),
    )
    .option("--size <WxH>", "pixels, multiples of 8 (default: the model's own)", readSize)
    .option("--width <pixels>", "the same", readNumber)
    .option("--height <pixels>", "", readNumber)
    .option("--steps <n>", "denoising steps (default: 20)", readNumber)
    .option("--scheduler <name>", "see the command schedulers (default: the model's own)")
    .option("--guidance <scale>", "how closely to follow the prompt; 1 is off (default: 7.5)", readNumber)
    .option("--guidance-rescale <share>", "0 to 1, against over-exposure (default: 0)", readNumber)
    .option("--clip-skip <n>", "text encoder layers to leave out at the end (default: 0)", readNumber)
    .option("--seed <n>", "number or text; picture i uses seed + i (default: drawn)", readSeed)
    .option("--count <n>", "pictures for each prompt (default: 1)", readNumber)
    .addOption(
      new Option("--rng <name>", "noise like torch on CPU, or on CUDA (philox)").choices([
        "torch",
        "philox",
        "seedrandom",
      ]),
    )
    .option("--variation-strength <share>", "0 to 1: turns the seed's noise towards another's", readNumber)
    .option("--variation-seed <n>", "that other seed; picture i uses it + i (default: drawn)", readSeed)
    .option("--hires-scale <factor>", "a second pass at a larger size", readNumber)
    .option("--hires-strength <share>", "of the second pass (default: 0.7)", readNumber)
    .option(
      "--guidance-interval <start,end>",
      "shares of the run that are guided, 0.2,0.8; the rest takes half the time (default: all)",
      readInterval,
    )
    .option("--deep-cache <n>", "the whole network at every n-th step alone (default: at each)", readNumber)
    .option(
      "--token-merging <share>",
      "of tokens that are merged in self-attention, 0.5; for large pictures (default: none)",
      readNumber,
    )
    .option("--eta <share>", "fresh noise in DDIM and its like", readNumber);
}

function addImageOptions(command: Command): void {
  command
    .optionsGroup("From an image:")
    .option("--image <path>", "PNG, JPEG or WebP to start from, or a folder: each picture in it")
    .option("--strength <share>", "0 to 1: how far to leave it (default: 0.8, with a mask 1)", readNumber)
    .option("--exact-steps", "run all steps, whatever the strength")
    .addOption(
      new Option("--resize-mode <mode>", "how the image is brought to the size").choices([
        "stretch",
        "crop",
        "fill",
      ]),
    )
    .option("--image-guidance <scale>", "InstructPix2Pix: how close to stay (default: 1.5)", readNumber)
    .option("--noise-level <n>", "upscalers: the more, the more is invented (default: 20)", readNumber)
    .option(
      "--mask <path>",
      "white or transparent: repaint; or a folder, with a mask named like each picture",
    )
    .option("--mask-invert", "repaint the rest instead")
    .option("--mask-blur <pixels>", "softens the mask's edge (default: 4)", readNumber)
    .addOption(
      new Option("--masked-content <kind>", "what the masked part starts as").choices([
        "original",
        "fill",
        "noise",
        "nothing",
      ]),
    )
    .option("--only-masked", "work on the mask's surroundings alone, at full size")
    .option("--only-masked-padding <pixels>", "how much of the surroundings", readNumber)
    .option("--expand <margins>", "outpainting: pixels to add, left=128,bottom=128", readMargins)
    .option("--expand-step <pixels>", "most that one pass adds (default: half the model's size)", readNumber)
    .option("--seam-strength <share>", "a second pass along the seams (default: 0, none)", readNumber);
}

function addOutputOptions(command: Command): void {
  command
    .optionsGroup("Output:")
    .option("--out <path>", "PNG file, or a folder (default: named after the prompt)")
    .option("--force", "overwrite existing files, which otherwise stay: new ones get the next number")
    .option("--preview <file>", "PNG that shows the state, small, after every step")
    .option("--quiet", "no progress");
}

function addModelOptions(command: Command): void {
  command
    .optionsGroup("Model and machine:")
    .option(
      "--model <model>",
      `folder, .safetensors file, owner/name on the hub, or ${defaultModels.join(", ")}`,
    )
    .option("--revision <name>", "of a hub model: branch, tag or commit")
    .option("--lora-dir <folder>", "where <lora:name:0.8> in prompts finds its files")
    .option("--vae <model>", "another autoencoder: folder or hub name")
    .option("--taesd <model>", "a small decoder for results and previews: folder or hub name")
    .option("--offline", "never ask the hub")
    .addOption(new Option("--precision <name>", "of the weights").choices(["fp32", "fp16", "bf16"]))
    .addOption(
      new Option("--runtime <name>", "graph is fast, eager the reference").choices(["graph", "eager"]),
    )
    .option("--unload", "give the memory of each network back after its use; slower")
    .option("--threads <n>", "(default: one for each core)", readNumber)
    .option(
      "--cache-dir <folder>",
      "for converted weights (default: TFJS_DIFFUSION_CACHE, or the user's cache)",
    );
}
