// The examples of its README: txt2img, img2img, and ControlNet's lists, a unit, and detect.
import { createRequire } from "node:module";
import sharp from "sharp";

const { default: StableDiffusionApi, ControlNetUnit } = createRequire(import.meta.url)(
  "stable-diffusion-api",
);
const api = new StableDiffusionApi({ baseUrl: process.env.SERVER });
const base64 = async (image) => (await image.clone().png().toBuffer()).toString("base64");
const result = await api.txt2img({
  prompt:
    "An AI-powered robot that accidentally starts doing everyone's job, causing chaos in the workplace.",
});
const image = sharp(await result.image.clone().png().toBuffer());
const changed = await api.img2img({
  init_images: [image],
  prompt: "Man, scared of AGI, running away on a burning lava floor.",
});
const models = await api.ControlNet.getModels();
const modules = await api.ControlNet.getModules();
const controlNetUnit = new ControlNetUnit({
  model: "control_v11p_sd15_canny [d14c016b]",
  module: "canny",
  input_images: [image],
  processor_res: 512,
  threshold_a: 64,
  threshold_b: 64,
});
const followed = await api.txt2img({
  prompt: "Young lad laughing at all artists putting hard work and effort into their work.",
  controlnet_units: [controlNetUnit],
});
const detected = await api.ControlNet.detect({
  controlnet_module: "canny",
  controlnet_input_images: [image],
  controlnet_processor_res: 512,
  controlnet_threshold_a: 64,
  controlnet_threshold_b: 64,
});
const pictures = {
  made: [await base64(result.image)],
  changed: [await base64(changed.image)],
  followed: await Promise.all(followed.images.map(base64)),
  detected: [await base64(detected.image)],
};
console.log(JSON.stringify({ pictures, info: { models, modules } }));
