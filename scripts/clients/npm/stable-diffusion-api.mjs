// The README's examples of stable-diffusion-api; the address, sizes, names of models and files are this test's.
import sharp from "sharp";
import sdapi from "stable-diffusion-api";

const { default: StableDiffusionApi, ControlNetUnit } = sdapi;
const { hostname, port } = new URL(process.env.SERVER);

const api = new StableDiffusionApi({
  host: hostname,
  port,
  protocol: "http",
  defaultSampler: "Euler a",
  defaultStepCount: 4,
  timeout: 600_000,
});
const size = { width: 64, height: 64 };

const result = await api.txt2img({
  prompt:
    "An AI-powered robot that accidentally starts doing everyone's job, causing chaos in the workplace.",
  seed: 5,
  ...size,
});
await result.image.toFile("result.png");

const image = sharp("result.png");
const varied = await api.img2img({
  init_images: [image],
  prompt: "Man, scared of AGI, running away on a burning lava floor.",
  ...size,
});
await varied.image.toFile("varied.png");

const models = await api.ControlNet.getModels();
const modules = await api.ControlNet.getModules();

const controlNetUnit = new ControlNetUnit({
  model: models[0],
  module: "canny",
  input_image: image,
  processor_res: 512,
  threshold_a: 64,
  threshold_b: 64,
});
const controlled = await api.txt2img({
  prompt: "Young lad laughing at all artists putting hard work and effort into their work.",
  controlnet_units: [controlNetUnit],
  ...size,
});
await controlled.image.toFile("controlled.png");
// To access the preprocessing result
await controlled.images[1].toFile("edges.png");

const detected = await api.ControlNet.detect({
  controlnet_module: "canny",
  controlnet_input_images: [image],
  controlnet_processor_res: 512,
  controlnet_threshold_a: 64,
  controlnet_threshold_b: 64,
});
await detected.image.toFile("detected.png");

const larger = await api.extraSingle({ image, upscaler_1: "Lanczos", upscaling_resize: 2 });
await larger.image.toFile("larger.png");

const [{ name: sampler }] = await api.getSamplers();
const before = await api.getCurrentModel();
const checkpoints = await api.getSdModels();
const { progress } = await api.getProgress();
const interrogated = await api.interrogate(image, "clip").catch(({ response }) => response.status);
await api.setOptions({ sd_model_checkpoint: checkpoints[0].title });
const model = await api.getCurrentModel();
await api.setOptions({ sd_model_checkpoint: before });
const lists = await Promise.all([
  api.getCmdFlags(),
  api.getUpscalers(),
  api.getHypernetworks(),
  api.getFaceRestorers(),
  api.getRealesrganModels(),
  api.getPromptStyles(),
]);
await api.refreshCheckpoints();
await api.pngInfo(image);
const [info] = JSON.parse(result.info).infotexts;
console.log(
  JSON.stringify({ modules, models, sampler, progress, interrogated, model, lists: lists.length, info }),
);
