import type { Latents } from "../latents/latents.js";
import { emphases } from "./choices.js";
import { descriptions, type GenerateOptions, type OptionName as Name } from "./options.js";
import { refusal } from "./refusal.js";
import type { ModelTraits } from "./resolved.js";

/** Pairs that exclude each other, and why. */
const contradictions: readonly (readonly [Name, Name, string])[] = [
  ["expand", "width", "the size follows from the image and the margins"],
  ["expand", "height", "the size follows from the image and the margins"],
  ["expand", "mask", "do one after the other"],
  ["expand", "resizeMode", "the image is not resized"],
  ["promptEmbeds", "prompt", "both say what to draw"],
  ["negativePromptEmbeds", "negativePrompt", "both say what to keep away from"],
  ["promptEmbeds", "prompt2", "both say what to draw"],
  ["negativePromptEmbeds", "negativePrompt2", "both say what to keep away from"],
  ["latents", "image", "both say where to start"],
  ["latents", "variation", "both say what the noise is"],
  ["latents", "seedSize", "both say what the noise is"],
  ["denoisingStart", "strength", "both say where to start"],
  ["denoisingStart", "exactSteps", "both say which steps are run"],
  ["denoisingStart", "variation", "what is begun in the middle has its noise already"],
  ["denoisingStart", "seedSize", "what is begun in the middle has its noise already"],
  ["denoisingStart", "mask", "image to image can start in the middle, inpainting cannot"],
  ["denoisingStart", "expand", "image to image can start in the middle, outpainting cannot"],
  ["softMask", "maskedContent", "each pixel starts as the image itself"],
  ["pag", "deepCache", "what is kept from evaluation to evaluation is not that of the perturbed network"],
  ["hires", "image", "image to image with width and height is the second pass by itself"],
  ["hires", "denoisingStart", "the second pass starts from the first one's end"],
  ["hires", "denoisingEnd", "the second pass needs a finished first one"],
];

/** What pictures that one model begins and another finishes cannot have: one of the two could not, or only a whole run of one. */
export const notRefined = [
  ...(["image", "mask", "expand", "hires", "controlnet", "ipAdapter", "promptEmbeds"] as const),
  ...(["negativePromptEmbeds", "prompt2", "negativePrompt2", "denoisingStart", "denoisingEnd"] as const),
] satisfies readonly Name[];

/**
 * Refuses options that contradict each other or the model, one message each. What shows only in resolved values
 * (sizes, latents, counts of prompts) is refused where those are made, in `resolve.ts`.
 *
 * @throws DiffusionError BAD_OPTION
 */
export function refuseContradictions(options: GenerateOptions, model: ModelTraits): void {
  const has = (key: Name) => options[key] !== undefined;
  const { name, hasText, sees, isRefiner = false } = model;
  if (hasText && !has("prompt") && !has("promptEmbeds"))
    throw refusal(`${name} needs a prompt`, 'pass prompt: "" to generate without one');
  const given = descriptions.filter(([key]) => has(key));
  refuseForModel(options, model);
  if (isRefiner && !has("image") && !(has("latents") && has("denoisingStart")))
    throw refusal(
      `${name} goes on with what another model has begun, and needs an image, or latents with denoisingStart`,
      "make them with the base model: output latents and denoisingEnd",
    );
  for (const [key, { needs }] of given)
    if (needs && !needs.some((other) => has(other as Name)))
      throw refusal(`${key} needs ${withArticle(needs)}`);
  for (const [a, b, why] of contradictions)
    if (has(a) && has(b)) throw refusal(`${a} and ${b} contradict each other`, why);
  if (sees === "image") refuseForInstructions(options, name);
  for (const [key, { only }] of given)
    if (only === "instruct" && sees !== "image")
      throw refusal(`${key} is for models that follow instructions (InstructPix2Pix), ${name} is not`);
  if (options.softMask && sees === "mask")
    throw refusal(`${name} sees the mask itself, which is black and white, so it takes no softMask`);
  refuseLatents(options, model);
  if (sees === "lowres") refuseForUpscaling(options, model);
  for (const [key, { only }] of given)
    if (only === "upscale" && sees !== "lowres") throw refusal(`${key} is for upscalers, ${name} is none`);
  refuseValues(options);
  refuseInterval(options, model);
}

/** Refuses options that mean nothing to the model. @throws DiffusionError BAD_OPTION */
export function refuseForModel(
  options: Partial<Record<Name, unknown>>,
  { name, hasText, textEncoders, sees, isRefiner = false }: ModelTraits,
): void {
  const given = descriptions.filter(([key]) => options[key] !== undefined);
  for (const [key, { only }] of given)
    if (only === "text" && !hasText)
      throw refusal(`${name} has no text encoder, so ${key} means nothing to it`);
  for (const [key, { not }] of given)
    if (not?.includes("unconditional") && !hasText && sees !== "lowres")
      throw refusal(`${name} generates from noise alone, so it takes no ${key}`);
  for (const [key, { only }] of given)
    if (only === "sdxl" && textEncoders < 2)
      throw refusal(`${key} is for models of the SDXL kind, ${name} is not`);
  for (const [key, { only }] of given)
    if (only === "sized" && textEncoders < 2 && !isRefiner)
      throw refusal(`${key} is for models of the SDXL kind, ${name} is not`);
    else if (only === "refiner" && !isRefiner) throw refusal(`${key} is for refiners, ${name} is none`);
}

/** Whether an option cannot stand beside one of those that were given. */
export const contradicts = (name: Name, options: GenerateOptions): boolean =>
  contradictions.some(
    ([a, b]) => (a === name && options[b] !== undefined) || (b === name && options[a] !== undefined),
  );

function refuseInterval(
  { guidanceInterval, guidance }: GenerateOptions,
  { name, guidanceEmbedding }: ModelTraits,
): void {
  if (!guidanceInterval) return;
  const [start, end] = guidanceInterval;
  if (start >= end)
    throw refusal(`guidanceInterval: ${start} is not before ${end}`, "guidance 1 guides nowhere");
  if (guidance !== undefined && guidance <= 1)
    throw refusal(`guidance ${guidance} is off, so guidanceInterval means nothing`);
  if (guidanceEmbedding)
    throw refusal(`${name} is told its guidance and is asked once a step, so it takes no guidanceInterval`);
}

function refuseForUpscaling(options: GenerateOptions, { name, mostNoise }: ModelTraits): void {
  const { noiseLevel, tiles } = options;
  if (options.image === undefined) throw refusal(`${name} enlarges pictures and needs an image`);
  for (const [key, { not }] of descriptions)
    if (options[key] !== undefined && not?.includes("upscale"))
      throw refusal(`${name} enlarges the whole image, so it takes no ${key}`);
  if (tiles?.size !== undefined && tiles.overlap !== undefined && tiles.overlap >= tiles.size)
    throw refusal(`tiles.overlap ${tiles.overlap} is not below tiles.size ${tiles.size}`);
  if (noiseLevel === undefined) return;
  if (mostNoise === undefined) throw refusal(`${name} sees the image as it is, so it takes no noiseLevel`);
  if (noiseLevel > mostNoise) throw refusal(`noiseLevel must be 0 to ${mostNoise}, got ${noiseLevel}`);
}

/** As an image: what the model itself, or one with the same VAE, has made; of one picture, as it is. */
function refuseLatents(options: GenerateOptions, model: ModelTraits): void {
  const { image } = options;
  if (typeof image !== "object" || !("shape" in image)) return;
  const { name, channels, factor, latentUpscaling, sees } = model;
  if (!latentUpscaling && (sees === "image" || sees === "lowres"))
    throw refusal(`image: ${name} takes pictures, not latents`, "decode them first");
  const { shape, data } = image;
  const isWhole = shape.reduce((a, b) => a * b, 1) === data.length;
  if (shape.length !== 4 || shape[0] !== 1 || shape[3] !== channels || !isWhole)
    throw refusal(
      `image: expected latents [1, h, w, ${channels}], got [${shape}] with ${data.length} numbers`,
    );
  refuseOtherScaling("image", image, model);
  const multiple = latentUpscaling ? latentUpscaling.multiple / factor : 1;
  if (latentUpscaling && shape.slice(1, 3).some((side) => side % multiple !== 0 || side < 2 * multiple))
    throw refusal(
      `image: latents of ${shape[2]}x${shape[1]} cells: ${name} takes multiples of ${multiple}, from ${2 * multiple} on`,
    );
  if (options.width !== undefined || options.height !== undefined)
    throw refusal("latents are not resized, so image as latents excludes width and height");
  for (const key of ["mask", "expand", "resizeMode"] as const)
    if (options[key] !== undefined)
      throw refusal(`${key} works on pixels, so it needs an image, not latents`);
}

/**
 * Latents that another kind of model has made: they are as large as the model's own, and mean something else.
 *
 * @throws DiffusionError BAD_OPTION
 */
export function refuseOtherScaling(
  option: "image" | "latents",
  { scaling: given }: Latents,
  { name, scaling }: ModelTraits,
): void {
  if (given === undefined || scaling === undefined || given === scaling) return;
  throw refusal(
    `${option}: the latents are of another kind of model (scaled ${given}); those of ${name} are scaled ${scaling}`,
    "use models of one kind, such as SDXL and its refiner, or give the picture as image",
  );
}

function refuseForInstructions(options: GenerateOptions, name: string): void {
  if (options.image === undefined) throw refusal(`${name} changes pictures and needs an image`);
  for (const [key, { not }] of descriptions)
    if (options[key] !== undefined && not?.includes("instruct"))
      throw refusal(`${name} starts from noise and sees the whole image, so it takes no ${key}`);
}

function refuseValues(options: GenerateOptions): void {
  const { strength, exactSteps, denoisingStart, denoisingEnd, hires, expand } = options;
  const { resizeMode, mask, maskBlurY, maskBlurSide, emphasis, padPrompts, promptSyntax } = options;
  if (emphasis !== undefined && emphasis !== emphases[0] && promptSyntax !== "a1111")
    throw refusal(`emphasis ${emphasis} needs promptSyntax "a1111", whose weights it is about`);
  if (padPrompts && promptSyntax !== "a1111")
    throw refusal('padPrompts needs promptSyntax "a1111": "plain" has one chunk, and "compel" always pads');
  if (strength === 0 && expand) throw refusal("strength 0 leaves no step to run, and expand needs some");
  if (resizeMode === "latent" && mask !== undefined)
    throw refusal("resizeMode latent brings whole pictures to the size, so it excludes a mask");
  if (maskBlurY !== undefined && maskBlurSide !== "both")
    throw refusal("maskBlurY works with maskBlurSide both");
  if (exactSteps && strength !== undefined && strength < 0.001)
    throw refusal(`strength ${strength} with exactSteps would need more than a thousandfold of the steps`);
  if (denoisingStart !== undefined && denoisingEnd !== undefined && denoisingStart >= denoisingEnd)
    throw refusal(`denoisingStart ${denoisingStart} is not before denoisingEnd ${denoisingEnd}`);
  if (!hires) return;
  if (hires.scale !== undefined && (hires.width !== undefined || hires.height !== undefined))
    throw refusal("hires.scale and hires.width or hires.height contradict each other");
  if (hires.strength === 0) throw refusal("hires.strength 0 leaves no step to run");
}

const withArticle = (names: readonly string[]): string =>
  names
    .map((name) =>
      name === "latents" || name === "expand" ? name : `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`,
    )
    .join(" or ");
