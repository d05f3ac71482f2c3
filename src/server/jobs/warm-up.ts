import type { GenerateOptions, ModelInfo } from "../../index.js";

/** The shortest run that touches every network with the shapes that requests will have. */
export function warmUp({ kind, size, tokenizer }: ModelInfo): GenerateOptions {
  if (kind === "unconditional") return { steps: 1, scheduler: "ddim" };
  if (kind === "text") return { prompt: "", steps: 1 };
  if (kind === "upscaling" || kind === "instruct") {
    const side = kind === "upscaling" ? 64 : size;
    const image = { width: side, height: side, data: new Uint8Array(side * side * 3).fill(128) };
    return { image, steps: 1, ...(tokenizer && { prompt: "" }) };
  }
  const white = { width: size, height: size, data: new Uint8Array(size * size * 3).fill(255) };
  return { prompt: "", steps: 1, image: white, mask: white };
}
