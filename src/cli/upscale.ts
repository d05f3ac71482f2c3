import { readFileSync } from "node:fs";
import { parse, resolve } from "node:path";
import type { Command } from "commander";
import { DiffusionError } from "../errors.js";
import {
  defaultUpscaler,
  encodePng,
  type Image,
  ImageUpscaler,
  isImageUpscaler,
  readImageTexts,
  type UpscaleOptions,
  type UpscalerOptions,
  upscalerOptionNames,
} from "../index.js";
import { readNumber } from "./arguments.js";
import { addGenerateOptions, type GenerateFlags } from "./flags/generate-flags.js";
import { openFailures } from "./folder-failures.js";
import { makePictures } from "./generate.js";
import { jobsOf } from "./jobs.js";
import { keepPicture, pictureNames } from "./pictures.js";
import { type Session, say, sayJson, version } from "./session.js";
import { showPicture } from "./terminal-picture.js";
import { durationInWords } from "./wording.js";

interface UpscaleFlags extends GenerateFlags {
  scale?: number;
}

export function addUpscale(program: Command, session: Session): void {
  const command = program
    .command("upscale")
    .summary("enlarge a picture")
    .description(
      `Enlarges a picture with ${defaultUpscaler}, or with the network or model that --model names: ESRGAN, ` +
        "Real-ESRGAN and SRVGGNetCompact files (.pth, .safetensors), or a diffusion model that enlarges.",
    )
    .argument("<image>", "PNG, JPEG or WebP, or a folder of them")
    .argument("[prompt...]", "what is in the picture, for diffusion models that read one")
    .option("--scale <factor>", "times as wide and high (default: the network's own)", readNumber);
  addGenerateOptions(command);
  command.action(async (image: string, words: string[], flags: UpscaleFlags) => {
    if (await isImageUpscaler(flags.model)) return enlargePictures(image, words, flags, session);
    if (flags.scale !== undefined)
      throw new DiffusionError(
        "BAD_OPTION",
        "--scale is for ESRGAN and SRVGGNetCompact; a model's factor is its own",
      );
    return makePictures(words.length > 0 ? [words.join(" ")] : [], { ...flags, image }, session);
  });
}

/** Flags that say something to such a network; all others would be dropped. */
const used = new Set<keyof UpscaleFlags>([
  ...(["scale", "size", "width", "height", "out", "force", "quiet", "json", "debug", "model"] as const),
  ...upscalerOptionNames,
]);

function refuseOthers(words: readonly string[], flags: UpscaleFlags): void {
  const isUsed = (name: string) =>
    used.has(name as keyof UpscaleFlags) || (name === "preview" && flags.preview === false);
  const [other] = Object.keys(flags).filter((name) => !isUsed(name));
  const what =
    words.length > 0 ? "a prompt" : other && `--${other.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  if (what)
    throw new DiffusionError("BAD_OPTION", `${flags.model ?? defaultUpscaler} enlarges without ${what}`, {
      hint: "it is for diffusion models that enlarge: --model names one",
    });
}

const present = <T extends object>(values: T): Partial<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;

const loadOptionsOf = (flags: UpscaleFlags): UpscalerOptions =>
  present(Object.fromEntries(upscalerOptionNames.map((name) => [name, flags[name]])));

function sizeOf({ scale, size, width, height }: UpscaleFlags): UpscaleOptions {
  if (size && (width !== undefined || height !== undefined))
    throw new DiffusionError("BAD_OPTION", "--size and --width or --height contradict each other");
  return present({ scale, width, height, ...size });
}

/** How the picture was made, where it says so, and what enlarged it: under the web UI's name for that. */
async function textOf(image: string, upscaler: string, { width, height }: Image): Promise<string> {
  const { parameters } = await readImageTexts(readFileSync(image));
  const enlarged = `Postprocess upscaler: ${upscaler}`;
  return parameters
    ? `${parameters}, ${enlarged}`
    : `${enlarged}, Size: ${width}x${height}, Version: tfjs-diffusion ${version}`;
}

/** Enlarges and writes one picture after the other, as `makePictures` makes them. */
async function enlargePictures(
  image: string,
  words: readonly string[],
  flags: UpscaleFlags,
  session: Session,
): Promise<void> {
  refuseOthers(words, flags);
  const size = sizeOf(flags);
  const jobs = jobsOf([], { perPrompt: 1, modelName: `${parse(image).name}-large`, image });
  const many = jobs[0]!.image !== undefined;
  const names = pictureNames(
    jobs.map(({ name }) => name),
    { out: flags.out, force: flags.force, many },
  );
  const failures = openFailures(session, jobs.length);
  const began = performance.now();
  const upscaler = await ImageUpscaler.load(flags.model, loadOptionsOf(flags));
  try {
    for (const [i, { name, image: own = image }] of jobs.entries()) {
      const start = performance.now();
      const making = upscaler.upscale(own, { ...size, signal: session.signal });
      const picture = many ? await failures.kept(making, own, i) : await making;
      if (!picture) continue;
      const { width, height } = picture;
      const parameters = await textOf(own, upscaler.name, picture);
      const path = keepPicture(names.next(name), encodePng(picture, { parameters }), session);
      const ms = Math.round(performance.now() - start);
      if (session.json)
        sayJson({ type: "image", image: i, path: resolve(path), width, height, ms, parameters });
      else {
        say(`${path}  ${width}x${height}  ${durationInWords(ms)}`);
        if (flags.preview !== false) showPicture(picture);
      }
    }
  } finally {
    await upscaler.dispose();
  }
  const failed = failures.report();
  const images = jobs.length - failed;
  const ms = Math.round(performance.now() - began);
  if (session.json) sayJson({ type: "done", images, ...(failed > 0 && { failed }), ms });
}
