import type { Hono } from "hono";
import { type ControlMap, usualResolution } from "../../foreign/control-maps.js";
import { decodeBase64, type ForeignPictures, type Plain } from "../../foreign/foreign.js";
import type { Incoming, Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import type { StoredGenerate } from "../../requests/request.js";
import { fitOf, isGuess, refuseUnsupportedUnit, unitsOf } from "./sdapi-controlnet-units.js";
import { read } from "./sdapi-errors.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";
import { detectBody, type Unit } from "./sdapi-unit-schema.js";

/*
 * The API of the web UI's ControlNet extension (Mikubill/sd-webui-controlnet): units in
 * `alwayson_scripts.controlnet.args`, and the lists under /controlnet.
 */

/** Its words for what a library's preprocessor does; thresholds are Canny's. */
const modules = ["none", "canny", "invert"] as const;
type Module = (typeof modules)[number];
const canny = { low: 100, high: 200 };

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
    const { weight, guidance_start } = unit;
    refuseUnsupportedUnit(unit, request);
    return {
      model: unit.model!,
      image: await mapOf(unit, request, pictures, start),
      scale: weight,
      start: guidance_start,
      end: unit.guidance_end ?? unit.guidance ?? 1,
      guess: isGuess(unit),
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
      fit: { width, height, mode: fitOf(unit) },
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

export function addControlNet(app: Hono, { models, foreign }: Parts): void {
  app.get("/controlnet/version", (c) => c.json({ version: 2 }));
  app.get("/controlnet/model_list", async (c) =>
    c.json({ model_list: (await models.files.controls()).map(({ name }) => name) }),
  );
  app.get("/controlnet/module_list", (c) => c.json({ module_list: modules, module_detail: moduleDetail }));
  app.get("/controlnet/control_types", async (c) => {
    return c.json({ control_types: controlTypes((await models.files.controls()).map(({ name }) => name)) });
  });
  app.get("/controlnet/settings", (c) => c.json({ control_net_unit_count: 3 }));
  app.post("/controlnet/detect", async (c) => {
    const body = await read(c, detectBody);
    const module = moduleOf(body.controlnet_module);
    const given = body.controlnet_input_images ?? body.controlnet_images ?? [];
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
