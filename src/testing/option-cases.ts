import type { Image } from "../image/image.js";
import { encodePng } from "../image/png.js";
import type { GenerateOptions } from "../options/options.js";
import { goldenExtra, goldenPath } from "./golden.js";
import { pseudoRandom } from "./tiny.js";

/** Models of which some option is meant. */
export type CaseModel = "sd1" | "sdxl" | "refiner" | "instruct" | "upscaler";

/** Two requests of which the second has an option that the first has not, or another value of it. */
export interface OptionCase {
  readonly model: CaseModel;
  readonly from: GenerateOptions;
  readonly to: GenerateOptions;
}

/** A picture of waves, so that no two of its parts are the same; `levels` of grey where it is a mask. */
function picture(width: number, height: number, colour: (x: number, y: number) => readonly number[]): Buffer {
  const image: Image = { width, height, data: new Uint8Array(width * height * 3) };
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at += 3) image.data.set(colour(x, y), at);
  return Buffer.from(encodePng(image));
}
const waves = (width: number, height: number) =>
  picture(width, height, (x, y) => [128 + 100 * Math.sin(x / 5), 128 + 100 * Math.cos(y / 7), 4 * x]);
const grey = (level: number) => [level, level, level];
const photo = waves(64, 64);
const box = picture(64, 64, (x, y) => grey(x > 20 && x < 44 && y > 24 && y < 40 ? 255 : 0));
const slope = picture(64, 64, (x) => grey(4 * x));

const size = { width: 64, height: 64 };
const common = { seed: 5, steps: 3, scheduler: "euler", ...size };
const cat = { ...common, prompt: "a cat", negativePrompt: "a blurred dog" };
const image = { ...cat, image: photo };
const masked = { ...image, mask: box };
const { width: _width, height: _height, ...unsized } = image;
const expanded = { ...unsized, expand: { left: 32 } };
/** Its slopes run aslant, which the two norms of Canny's measure differently. */
const ripples = picture(64, 64, (x, y) => grey(128 + 100 * Math.sin((x + 2 * y) / 6)));
const both = { ...masked, maskBlurSide: "both" as const };
const webui = { ...cat, promptSyntax: "a1111" as const };
const hires = { ...cat, hires: { scale: 1.5 } };

const sd1 = (from: GenerateOptions, more: GenerateOptions): OptionCase => ({
  ...{ model: "sd1", from, to: { ...from, ...more } },
});
const of = (model: CaseModel, from: GenerateOptions, more: GenerateOptions): OptionCase => ({
  ...sd1(from, more),
  model,
});

const embeds = (seed: number) => ({
  context: { shape: [1, 77, 32], data: pseudoRandom(77 * 32, seed) },
});
const { prompt: _prompt, negativePrompt: _negativePrompt, ...wordless } = cat;
const embedded = { ...wordless, promptEmbeds: embeds(1), negativePromptEmbeds: embeds(2) };

const control = { model: goldenPath("models/tiny-controlnet"), image: photo };
const controlled = (more: object) => ({ controlnet: [{ ...control, ...more }] });
const seen = {
  model: goldenExtra("ip-adapter/plain.safetensors"),
  image: goldenExtra("ip-adapter/wide.png"),
};
const seeing = (more: object) => ({ ipAdapter: { ...seen, ...more } });
const freeu = { b1: 1.5, b2: 1.6, s1: 0.9, s2: 0.2 };
const weighed = { ...cat, freeu };
const sizes = { original: { width: 128, height: 96 } };
const small = { ...common, prompt: "a cat", image: waves(16, 16), width: 64, height: 64 };

/** Why an option changes no picture. */
type Reason = string;

/**
 * Of each option, and of each setting inside of one, two requests whose pictures differ by it, or the reason why no
 * picture does.
 */
export const optionCases = (): Readonly<Record<string, OptionCase | Reason>> => ({
  prompt: sd1(cat, { prompt: "a red castle" }),
  negativePrompt: sd1(cat, { negativePrompt: "a red castle" }),
  promptSyntax: sd1({ ...cat, prompt: "a (cat:1.5)" }, { promptSyntax: "a1111" }),
  emphasis: sd1({ ...webui, prompt: "a (cat:1.5)" }, { emphasis: "no-norm" }),
  padPrompts: sd1({ ...webui, prompt: "a red fox ".repeat(40) }, { padPrompts: true }),
  wildcards: sd1({ ...cat, prompt: "a {red cat|green castle}" }, { wildcards: {} }),
  promptEmbeds: sd1(embedded, { promptEmbeds: embeds(3) }),
  negativePromptEmbeds: sd1(embedded, { negativePromptEmbeds: embeds(3) }),
  prompt2: of("sdxl", cat, { prompt2: "a red castle" }),
  negativePrompt2: of("sdxl", cat, { negativePrompt2: "a red castle" }),
  clipSkip: sd1(cat, { clipSkip: 1 }),
  sizes: of("sdxl", cat, { sizes }),
  "sizes.original": of("sdxl", { ...cat, sizes }, { sizes: { original: { width: 32, height: 96 } } }),
  "sizes.crop": of("sdxl", { ...cat, sizes }, { sizes: { ...sizes, crop: { left: 9, top: 30 } } }),
  "sizes.target": of("sdxl", { ...cat, sizes }, { sizes: { ...sizes, target: { width: 32, height: 96 } } }),
  "sizes.negative": of(
    "sdxl",
    { ...cat, sizes },
    { sizes: { ...sizes, negative: { target: { width: 9, height: 9 } } } },
  ),

  width: sd1(cat, { width: 96 }),
  height: sd1(cat, { height: 96 }),
  steps: sd1(cat, { steps: 4 }),
  scheduler: sd1(cat, { scheduler: "ddim" }),
  guidance: sd1(cat, { guidance: 3 }),
  guidanceRescale: sd1(cat, { guidanceRescale: 0.7 }),
  guidanceInterval: sd1(cat, { guidanceInterval: [0.4, 1] }),
  deepCache: sd1(cat, { deepCache: { interval: 2 } }),
  "deepCache.interval": sd1({ ...cat, deepCache: { interval: 2 } }, { deepCache: { interval: 3 } }),
  tokenMerging: sd1(cat, { tokenMerging: 0.5 }),
  freeu: sd1(cat, { freeu }),
  "freeu.b1": sd1(weighed, { freeu: { ...freeu, b1: 1 } }),
  "freeu.b2": sd1(weighed, { freeu: { ...freeu, b2: 1 } }),
  "freeu.s1": sd1(weighed, { freeu: { ...freeu, s1: 0.2 } }),
  "freeu.s2": sd1(weighed, { freeu: { ...freeu, s2: 0.9 } }),
  pag: sd1(cat, { pag: { scale: 3 } }),
  "pag.scale": sd1({ ...cat, pag: { scale: 3 } }, { pag: { scale: 1 } }),
  "pag.layers": sd1({ ...cat, pag: { scale: 3 } }, { pag: { scale: 3, layers: ["up"] } }),
  aestheticScore: of("refiner", { ...image, strength: 0.8 }, { aestheticScore: 1 }),
  negativeAestheticScore: of("refiner", { ...image, strength: 0.8 }, { negativeAestheticScore: 9 }),
  imageGuidance: of("instruct", image, { imageGuidance: 3 }),
  eta: sd1({ ...cat, scheduler: "ddim" }, { eta: 1 }),
  seed: sd1(cat, { seed: 6 }),
  count: sd1(cat, { count: 2 }),
  rng: sd1(cat, { rng: "philox" }),
  variation: sd1(cat, { variation: { seed: 9, strength: 0.5 } }),
  "variation.seed": sd1(
    { ...cat, variation: { seed: 9, strength: 0.5 } },
    { variation: { seed: 8, strength: 0.5 } },
  ),
  "variation.strength": sd1(
    { ...cat, variation: { seed: 9, strength: 0.5 } },
    { variation: { seed: 9, strength: 1 } },
  ),
  seedSize: sd1(cat, { seedSize: { width: 96, height: 48 } }),
  "seedSize.width": sd1(
    { ...cat, seedSize: { width: 96, height: 48 } },
    { seedSize: { width: 48, height: 48 } },
  ),
  "seedSize.height": sd1(
    { ...cat, seedSize: { width: 96, height: 48 } },
    { seedSize: { width: 96, height: 96 } },
  ),
  denoisingStart: sd1(image, { denoisingStart: 0.5 }),
  denoisingEnd: sd1(cat, { denoisingEnd: 0.5 }),

  image: sd1(cat, { image: photo }),
  strength: sd1(image, { strength: 0.4 }),
  exactSteps: sd1({ ...image, strength: 0.4 }, { exactSteps: true }),
  resizeMode: sd1({ ...cat, image: waves(64, 32) }, { resizeMode: "crop" }),
  mask: sd1(image, { mask: box }),
  maskInvert: sd1(masked, { maskInvert: true }),
  maskBlur: sd1(masked, { maskBlur: 0 }),
  maskBlurSide: sd1(masked, { maskBlurSide: "both" }),
  maskBlurY: sd1(both, { maskBlurY: 12 }),
  softMask: sd1({ ...image, mask: slope }, { softMask: true }),
  maskedContent: sd1({ ...masked, strength: 0.6 }, { maskedContent: "fill" }),
  onlyMasked: sd1(masked, { onlyMasked: { padding: 4 } }),
  "onlyMasked.padding": sd1({ ...masked, onlyMasked: { padding: 2 } }, { onlyMasked: { padding: 12 } }),
  expand: sd1(unsized, { expand: { left: 32 } }),
  expandStep: sd1(expanded, { expandStep: 16 }),
  seamStrength: sd1(expanded, { seamStrength: 0.6 }),
  hires: sd1(cat, { hires: { scale: 1.5 } }),
  "hires.scale": sd1(hires, { hires: { scale: 2 } }),
  "hires.width": sd1({ ...cat, hires: { height: 96 } }, { hires: { height: 96, width: 64 } }),
  "hires.height": sd1({ ...cat, hires: { width: 96 } }, { hires: { width: 96, height: 64 } }),
  "hires.strength": sd1(hires, { hires: { scale: 1.5, strength: 0.4 } }),
  "hires.steps": sd1(hires, { hires: { scale: 1.5, steps: 4 } }),
  "hires.upscaler": sd1(hires, { hires: { scale: 1.5, upscaler: "lanczos" } }),
  noiseLevel: of("upscaler", small, { noiseLevel: 200 }),
  tiles: of("upscaler", small, { tiles: { size: 8, overlap: 4 } }),
  "tiles.size": of(
    "upscaler",
    { ...small, tiles: { size: 8, overlap: 4 } },
    { tiles: { size: 16, overlap: 4 } },
  ),
  "tiles.overlap": of(
    "upscaler",
    { ...small, tiles: { size: 8, overlap: 4 } },
    { tiles: { size: 8, overlap: 1 } },
  ),

  controlnet: sd1(cat, controlled({})),
  "controlnet.model": "what a ControlNet is differs by its weights, of which there is one here",
  "controlnet.image": sd1({ ...cat, ...controlled({}) }, controlled({ image: slope })),
  "controlnet.mask": sd1({ ...cat, ...controlled({}) }, controlled({ mask: box })),
  "controlnet.preprocess": sd1({ ...cat, ...controlled({}) }, controlled({ preprocess: "invert" })),
  "controlnet.preprocess.name": "said by controlnet.preprocess",
  "controlnet.preprocess.low": sd1(
    { ...cat, ...controlled({ preprocess: { name: "canny", low: 140, high: 145 } }) },
    controlled({ preprocess: { name: "canny", low: 10, high: 145 } }),
  ),
  "controlnet.preprocess.high": sd1(
    { ...cat, ...controlled({ preprocess: { name: "canny", low: 10, high: 300 } }) },
    controlled({ preprocess: { name: "canny", low: 10, high: 20 } }),
  ),
  "controlnet.preprocess.norm": sd1(
    { ...cat, ...controlled({ image: ripples, preprocess: { name: "canny", low: 320, high: 340 } }) },
    controlled({ image: ripples, preprocess: { name: "canny", low: 320, high: 340, norm: "l2" } }),
  ),
  "controlnet.scale": sd1({ ...cat, ...controlled({}) }, controlled({ scale: 0.5 })),
  "controlnet.start": sd1({ ...cat, ...controlled({}) }, controlled({ start: 0.5 })),
  "controlnet.end": sd1({ ...cat, ...controlled({}) }, controlled({ end: 0.5 })),
  "controlnet.guess": sd1({ ...cat, ...controlled({}) }, controlled({ guess: true })),
  ipAdapter: sd1(cat, seeing({})),
  "ipAdapter.model": "what an IP-Adapter is differs by its weights",
  "ipAdapter.imageEncoder": "the same encoder in another place gives the same",
  "ipAdapter.image": sd1({ ...cat, ...seeing({}) }, seeing({ image: goldenExtra("ip-adapter/tall.png") })),
  "ipAdapter.scale": sd1({ ...cat, ...seeing({}) }, seeing({ scale: 0.5 })),
  "ipAdapter.start": sd1({ ...cat, ...seeing({}) }, seeing({ start: 0.5 })),
  "ipAdapter.end": sd1({ ...cat, ...seeing({}) }, seeing({ end: 0.5 })),

  latents: sd1(cat, { latents: { shape: [1, 8, 8, 4], data: pseudoRandom(256, 4) } }),
  stop: sd1(cat, { stop: AbortSignal.abort() }),
  output: "leaves out the decoding",
  signal: "ends the run with an error",
  onProgress: "is told of the run",
  preview: "makes pictures on the way",
  "preview.every": "the same",
});
