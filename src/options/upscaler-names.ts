import type { HiresUpscaler } from "./choices.js";

/** What the web UI calls what enlarges: ways of resampling, and the networks that it downloads by itself. */
const webuiNames: Readonly<Record<string, string>> = {
  latent: "Latent",
  "latent-bilinear-antialiased": "Latent (antialiased)",
  "latent-bicubic": "Latent (bicubic)",
  "latent-bicubic-antialiased": "Latent (bicubic antialiased)",
  "latent-nearest": "Latent (nearest)",
  "latent-nearest-exact": "Latent (nearest-exact)",
  lanczos: "Lanczos",
  nearest: "Nearest",
  RealESRGAN_x4plus: "R-ESRGAN 4x+",
  RealESRGAN_x4plus_anime_6B: "R-ESRGAN 4x+ Anime6B",
  RealESRGAN_x2plus: "R-ESRGAN 2x+",
  "realesr-general-x4v3": "R-ESRGAN General 4xV3",
  "realesr-general-wdn-x4v3": "R-ESRGAN General WDN 4xV3",
  "realesr-animevideov3": "R-ESRGAN AnimeVideo",
} satisfies Partial<Record<HiresUpscaler, string>> & Record<string, string>;

/** Without folders and the ending of a file. */
const bare = (name: string): string =>
  name
    .trim()
    .replace(/^.*[/\\]/, "")
    .replace(/\.(pth|pt|safetensors)$/i, "");

/** The web UI's name of an upscaler of ours, be it a file; its own where the web UI has none. */
export const webuiUpscalerName = (upscaler: string): string => webuiNames[bare(upscaler)] ?? bare(upscaler);

/** Our name for an upscaler that may have the web UI's, in any case; others stay as they are. */
export function ownUpscalerName(name: string): string {
  const wanted = name.trim().toLowerCase();
  const [own] = Object.entries(webuiNames).find(([, webui]) => webui.toLowerCase() === wanted) ?? [];
  return own ?? name.trim();
}
