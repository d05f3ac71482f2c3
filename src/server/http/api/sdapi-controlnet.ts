import type { Hono } from "hono";
import { z } from "zod";
import { firstProblem } from "../../../expectations.js";
import { type ControlMap, usualResolution } from "../../foreign/control-maps.js";
import { decodeBase64, type ForeignPictures, type Plain } from "../../foreign/foreign.js";
import type { Incoming, Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import type { StoredGenerate } from "../../requests/request.js";
import { read } from "./sdapi-errors.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";

/*
 * The API of the web UI's ControlNet extension (Mikubill/sd-webui-controlnet): units in
 * `alwayson_scripts.controlnet.args`, and the lists under /controlnet.
 */

export const isControlNet = (script: string): boolean => script.toLowerCase() === "controlnet";

/** Its words for what a library's preprocessor does; thresholds are Canny's. */
const modules = ["none", "canny", "invert"] as const;
type Module = (typeof modules)[number];
const canny = { low: 100, high: 200 };

const resizeModes = ["Just Resize", "Crop and Resize", "Resize and Fill"];
const fits = ["stretch", "crop", "fill"] as const;
const controlModes = ["Balanced", "My prompt is more important", "ControlNet is more important"];

const picture = z.string().nullish();
const number = (usual: number) => z.number().nullish().transform((given) => given ?? usual); // biome-ignore format: a pair
/** Said by its number or in words. */
const choice = (words: readonly string[], usual: number) =>
  z
    .union([z.number().int(), z.string()])
    .nullish()
    .transform((given) => (typeof given === "string" ? words.indexOf(given) : (given ?? usual)))
    .refine((index) => words[index] !== undefined, `expected one of ${words.join(", ")}`);

const unit = z.object({
  enabled: z.boolean().nullish(),
  module: z.string().nullish(),
  model: z.string().nullish(),
  weight: number(1).pipe(z.number().min(0).max(2)),
  image: z.union([z.string(), z.object({ image: z.string(), mask: picture })]).nullish(),
  input_image: picture,
  mask: picture,
  mask_image: picture,
  resize_mode: choice(resizeModes, 1),
  control_mode: choice(controlModes, 0),
  processor_res: number(-1),
  /** The resolution follows from the size that is asked for. */
  pixel_perfect: z.boolean().nullish(),
  threshold_a: number(-1),
  threshold_b: number(-1),
  save_detected_map: z.boolean().nullish(),
  guidance_start: number(0),
  guidance_end: z.number().nullish(),
  /** The older name. */
  guidance: z.number().nullish(),
});
type Unit = z.infer<typeof unit>;

/**
 * The units of a request that are switched on, their pictures preprocessed and brought to the size.
 *
 * @param start the picture of image to image, for units that bring none
 */
export async function controlsOf(
  request: Txt2img | Img2img,
  pictures: ForeignPictures,
  start?: string,
): Promise<Pick<Incoming, "controlnet">> {
  const units = unitsOf(request.alwayson_scripts ?? {});
  if (units.length === 0) return {};
  const controls = units.map(async (unit) => {
    const { weight, guidance_start, control_mode } = unit;
    if (control_mode === 1)
      throw new Refusal(422, "UNSUPPORTED", `ControlNet: this server does not have "${controlModes[1]}"`, {
        hint: `choose ${controlModes[0]} or ${controlModes[2]}`,
      });
    if (unit.mask || unit.mask_image || (typeof unit.image === "object" && unit.image?.mask))
      throw new Refusal(422, "UNSUPPORTED", "ControlNet: this server does not have masks of units");
    return {
      model: unit.model!,
      image: await mapOf(unit, request, pictures, start),
      scale: weight,
      start: guidance_start,
      end: unit.guidance_end ?? unit.guidance ?? 1,
      guess: control_mode === 2,
    };
  });
  return { controlnet: await Promise.all(controls) };
}

/**
 * The prepared pictures that go behind those of the answer, as the extension does unless its setting or the unit's
 * save_detected_map says no.
 *
 * @param given those of the job, one for each unit that is switched on
 */
export function shownMaps(
  { alwayson_scripts }: Txt2img | Img2img,
  given: StoredGenerate["controlnet"] = [],
): readonly string[] {
  const units = unitsOf(alwayson_scripts ?? {});
  return given.flatMap(({ image }, i) => (units[i]?.save_detected_map === false ? [] : [image]));
}

function unitsOf(scripts: Readonly<Record<string, unknown>>): Unit[] {
  const given = Object.entries(scripts).flatMap(([name, script]) => {
    if (!isControlNet(name)) return [];
    const args = Array.isArray(script) ? script : (script as { args?: unknown } | null)?.args;
    return Array.isArray(args) ? args : [];
  });
  return given.flatMap((arg: unknown, i) => {
    if (typeof arg !== "object" || arg === null || (arg as { enabled?: unknown }).enabled === false)
      return [];
    const result = unit.safeParse(arg);
    if (!result.success) {
      const { path, message } = firstProblem(result.error, arg);
      throw new Refusal(422, "BAD_OPTION", `alwayson_scripts.controlnet.args.${i}.${path}: ${message}`);
    }
    const { model } = result.data;
    if (!model || model === "None")
      throw new Refusal(422, "BAD_OPTION", `alwayson_scripts.controlnet.args.${i}.model: a model is needed`, {
        hint: "GET /controlnet/model_list names them",
      });
    return [result.data];
  });
}

async function mapOf(
  unit: Unit,
  { width, height }: Txt2img | Img2img,
  pictures: ForeignPictures,
  start: string | undefined,
): Promise<Plain> {
  const given = typeof unit.image === "string" ? unit.image : unit.image?.image;
  const base64 = given || unit.input_image || start;
  if (!base64) throw new Refusal(422, "NO_IMAGE", "controlnet is enabled but no input image is given");
  const map = mapping(moduleOf(unit.module), unit);
  return pictures.make("control", decodeBase64(base64), {
    map: {
      ...map,
      ...(unit.pixel_perfect && { resolution: "perfect" }),
      fit: { width, height, mode: fits[unit.resize_mode]! },
    },
  });
}

/** "invert (from white bg & black line)" is the extension's whole name of one. */
function moduleOf(name: string | null | undefined): Module {
  const wanted = (name || "none").toLowerCase();
  const found = modules.find((module) => wanted === module || wanted.startsWith(`${module} (`));
  if (found) return found;
  throw new Refusal(422, "UNSUPPORTED", `ControlNet: module ${name?.slice(0, 100)} not found`, {
    hint: `there are ${modules.join(", ")}; other pictures are sent ready made, with module none`,
  });
}

/** What a preprocessor is told. */
const mapping = (
  module: Module,
  { processor_res, threshold_a, threshold_b }: Pick<Unit, "processor_res" | "threshold_a" | "threshold_b">,
): ControlMap => ({
  module,
  resolution: processor_res,
  low: threshold_a >= 0 ? threshold_a : canny.low,
  high: threshold_b >= 0 ? threshold_b : canny.high,
});

export const detectBody = z.object({
  controlnet_module: z.string().nullish(),
  controlnet_input_images: z.array(z.string()).max(16).nullish(),
  controlnet_processor_res: number(-1),
  controlnet_threshold_a: number(-1),
  controlnet_threshold_b: number(-1),
});

export function addControlNet(app: Hono, { models, foreign }: Parts): void {
  app.get("/controlnet/version", (c) => c.json({ version: 2 }));
  app.get("/controlnet/model_list", async (c) =>
    c.json({ model_list: (await models.controls()).map(({ name }) => name) }),
  );
  app.get("/controlnet/module_list", (c) => c.json({ module_list: modules, module_detail: moduleDetail }));
  app.get("/controlnet/control_types", async (c) => {
    return c.json({ control_types: controlTypes((await models.controls()).map(({ name }) => name)) });
  });
  app.get("/controlnet/settings", (c) => c.json({ control_net_unit_count: 3 }));
  app.post("/controlnet/detect", async (c) => {
    const body = await read(c, detectBody);
    const module = moduleOf(body.controlnet_module);
    const given = body.controlnet_input_images ?? [];
    if (given.length === 0) throw new Refusal(422, "NO_IMAGE", "No image selected");
    const options = {
      processor_res: body.controlnet_processor_res,
      threshold_a: body.controlnet_threshold_a,
      threshold_b: body.controlnet_threshold_b,
    };
    const pictures = foreign.ofRequest();
    const map = mapping(module, options);
    const images = await Promise.all(
      given.map(async (base64) => {
        const { png } = await pictures.make("control", decodeBase64(base64), { map });
        return Buffer.from(png).toString("base64");
      }),
    );
    return c.json({ images, info: "Success" });
  });
}

/** Which modules go with which models, under the extension's headings; a model belongs where its name says so. */
function controlTypes(names: readonly string[]): Record<string, object> {
  const edges = names.filter((name) => /canny/i.test(name));
  return {
    All: {
      module_list: modules,
      model_list: ["None", ...names],
      default_option: "none",
      default_model: "None",
    },
    Canny: {
      module_list: ["none", "canny"],
      model_list: ["None", ...edges],
      default_option: "canny",
      default_model: edges[0] ?? "None",
    },
  };
}

/** Named as the extension names them: clients tell the resolution from the two thresholds so. */
const slider = (name: string, value: number, [min, max]: readonly [number, number], step: number) => ({
  ...{ name, value, min, max, step },
});
const moduleDetail: Record<Module, object> = {
  none: { model_free: false, sliders: [] },
  canny: {
    model_free: false,
    sliders: [
      slider("Resolution", usualResolution, [64, 2048], 8),
      slider("Low Threshold", canny.low, [1, 255], 1),
      slider("High Threshold", canny.high, [1, 255], 1),
    ],
  },
  invert: { model_free: false, sliders: [] },
};
