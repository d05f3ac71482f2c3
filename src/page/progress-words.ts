import type { Translate } from "./store.js";
import type { Word } from "./words.js";

const parts: readonly (readonly [RegExp, Word])[] = [
  [/^text_encoder/, "textEncoderPart"],
  [/^image_encoder/, "imageEncoderPart"],
  [/unet|^transformer/, "unetPart"],
  [/^(vae|vq|taesd)/, "decoderPart"],
  [/^(controlnet|t2i)/, "controlPart"],
  [/^(upscaler|rrdb|srvgg)/, "upscalerPart"],
];

/** What is being loaded, in words: a network by what it is for, anything else (a file that is downloaded) by its name. */
export function partName(t: Translate, what: string): string {
  const [, word] = parts.find(([pattern]) => pattern.test(what)) ?? [];
  return word ? t(word) : what;
}

/** " (network that draws, 25 %)": what is being loaded, and how far; nothing at the end, when everything is there. */
export function phaseInWords(
  t: Translate,
  phase: { readonly what: string; readonly done: number; readonly total: number } | undefined,
): string {
  if (!phase || phase.what === "all") return "";
  const share = phase.total > 1 ? `, ${Math.floor((100 * phase.done) / phase.total)} %` : "";
  return ` (${partName(t, phase.what)}${share})`;
}
