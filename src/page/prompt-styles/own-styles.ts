import type { Style } from "../../options/styles.js";

const photo = "painting, drawing, cartoon";

/** Styles that come along: words that the default model and Stable Diffusion 1.5 were trained on alike. */
export const ownStyles: readonly Style[] = [
  { name: "3D render", prompt: "{prompt}, 3d render, soft light", negativePrompt: "flat, sketch" },
  { name: "Flat icon", prompt: "{prompt}, flat vector icon, simple shapes", negativePrompt: "photo, 3d" },
  { name: "Glossy emoji", prompt: "{prompt}, glossy emoji, white background", negativePrompt: "text" },
  { name: "Sticker", prompt: "{prompt}, sticker, white border, bold outline", negativePrompt: "photo" },
  { name: "Pixel art", prompt: "{prompt}, pixel art, 16-bit", negativePrompt: "blurry, smooth" },
  { name: "Clay figure", prompt: "{prompt}, clay figure, plasticine, studio light", negativePrompt: "flat" },
  {
    name: "Watercolour",
    prompt: "watercolor painting of {prompt}, soft washes, paper texture",
    negativePrompt: "photo, 3d render",
  },
  {
    name: "Oil painting",
    prompt: "oil painting of {prompt}, thick brush strokes, canvas",
    negativePrompt: "photo, 3d render",
  },
  {
    name: "Pencil sketch",
    prompt: "pencil sketch of {prompt}, fine hatching, white paper",
    negativePrompt: "color, photo",
  },
  {
    name: "Photograph",
    prompt: "photograph of {prompt}, 50mm lens, natural light, sharp focus",
    negativePrompt: photo,
  },
  {
    name: "Cinematic",
    prompt: "cinematic still of {prompt}, dramatic light, shallow depth of field",
    negativePrompt: photo,
  },
  { name: "Night", prompt: "{prompt}, at night, neon light, dark background", negativePrompt: "daylight" },
  { name: "Clean", prompt: "", negativePrompt: "blurry, low quality, jpeg artifacts, watermark, text" },
];
