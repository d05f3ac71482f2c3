import { hiresUpscalers, resizeModes } from "../options/choices.js";
import { ownUpscalerName } from "../options/upscaler-names.js";
import { type FurtherNumber, furtherNames, furtherNumbers, noAxis } from "./axes.js";
import { unitsOf, unitsOfFields } from "./followed/units.js";
import type { GenerateView, SchedulerList } from "./server.js";
import { type Settings, settings } from "./settings.js";

/** Settings of a job of the history. */
export function settingsOf(request: GenerateView, list: SchedulerList): Partial<Settings> {
  const {
    expand,
    onlyMasked,
    seed,
    scheduler,
    variation,
    hires,
    grid,
    controlnet: _,
    ipAdapter: __,
    freeu,
    pag,
    refiner,
    width = 0,
    height = 0,
    ...rest
  } = request;
  const { strength = 0, seed: varied = "" } = variation ?? {};
  const known = settings.get();
  const plain = Object.fromEntries(Object.entries(rest).filter(([key]) => key in known && key !== "model"));
  return {
    ...plain,
    // What the request left to the model.
    steps: rest.steps ?? 0,
    strength: rest.strength ?? 0,
    guidance: rest.guidance ?? 0,
    ...furtherOf((name) => rest[name]),
    variationStrength: strength,
    variationSeed: String(varied),
    hires: hires !== undefined,
    ...(hires && {
      hiresScale: hires.scale ?? 1.5,
      hiresWidth: hires.width ?? 0,
      hiresHeight: hires.height ?? 0,
      hiresSteps: hires.steps ?? 0,
      hiresStrength: hires.strength ?? 0.7,
      hiresUpscaler: hires.upscaler ?? hiresUpscalers[0],
    }),
    ...unitsOf(request),
    pagScale: pag?.scale ?? 0,
    freeu: freeu ? [freeu.b1, freeu.b2, freeu.s1, freeu.s2].join(" ") : "",
    softMask: rest.softMask ?? false,
    padPrompts: rest.padPrompts ?? false,
    refiner: refiner?.model ?? "",
    ...(refiner && { refinerSwitch: refiner.switchAt }),
    aestheticScore: rest.aestheticScore ?? 0,
    negativeAestheticScore: rest.negativeAestheticScore ?? 0,
    x: noAxis,
    y: noAxis,
    scheduler: "",
    schedule: "",
    ...schedulerSettings(scheduler, list),
    ...(seed !== undefined && { seed: String(seed) }),
    ...(rest.image || rest.images ? { imageWidth: width, imageHeight: height } : { width, height }),
    resizeMode: rest.resizeMode ?? resizeModes[0],
    ...(expand && marginsOf(expand)),
    onlyMasked: Boolean(onlyMasked),
    ...(typeof onlyMasked === "object" && onlyMasked),
  };
}

const marginsOf = ({ left = 0, right = 0, top = 0, bottom = 0 }: NonNullable<GenerateView["expand"]>) => ({
  left,
  right,
  top,
  bottom,
});

/** Numbers of "More settings": those that are not said are 0. */
const furtherOf = (said: (name: FurtherNumber) => number | undefined): Partial<Settings> =>
  Object.fromEntries(furtherNames.map((name) => [name, said(name) ?? 0]));

/** By the library's name ("dpmpp_2m_karras"), or by labels of the web UI, which its API's clients send. */
function schedulerSettings(
  scheduler: GenerateView["scheduler"],
  { schedulers, scheduleTypes }: SchedulerList,
): Pick<Settings, "scheduler" | "schedule"> | undefined {
  if (typeof scheduler === "string") {
    if (schedulers.some(({ name }) => name === scheduler)) return { scheduler, schedule: "" };
    for (const { name } of schedulers) {
      const schedule = scheduleTypes.find((type) => scheduler === `${name}_${type}`);
      if (schedule) return { scheduler: name, schedule };
    }
    return undefined;
  }
  const { sampler = "", schedule } = scheduler ?? {};
  const wanted = sampler.toLowerCase();
  const [entry] = schedulers
    .filter(({ label, name }) => wanted === name || wanted.startsWith(label.toLowerCase()))
    .toSorted((a, b) => b.label.length - a.label.length);
  if (!entry) return undefined;
  // Older clients put it behind the sampler: "DPM++ 2M Karras".
  const said = (schedule ?? wanted.slice(entry.label.length).trim()).toLowerCase().replaceAll(" ", "_");
  const type = scheduleTypes.find((type) => type === said || type === `${said}_uniform`);
  return { scheduler: entry.name, schedule: type ?? "" };
}

const rngOf: Record<string, Settings["rng"]> = {
  CPU: "torch",
  NV: "philox",
  GPU: "philox",
  seedrandom: "seedrandom",
};

/** Settings of a picture's parameters text, taken apart under the web UI's names. */
export function settingsOfFields(
  fields: Readonly<Record<string, string>>,
  list: SchedulerList,
): Partial<Settings> {
  const number = (key: string) => (fields[key] === undefined ? undefined : Number(fields[key]));
  const [left, top, right, bottom] = (fields.Outpaint ?? "").split(" ").filter(Boolean).map(Number);
  const found: Partial<Record<keyof Settings, unknown>> = {
    prompt: fields.Prompt ?? "",
    negativePrompt: fields["Negative prompt"] ?? "",
    steps: number("Steps"),
    guidance: number("CFG scale"),
    ...furtherOf((name) => {
      const { field, from } = furtherNumbers[name];
      return (number(field) ?? from) - from;
    }),
    pagScale: Number(fields.PAG?.split(" ")[0] ?? 0),
    freeu: fields.FreeU ?? "",
    seed: fields.Seed,
    variationStrength: number("Variation seed strength") ?? 0,
    variationSeed: fields["Variation seed"] ?? "",
    ...hiresOfFields(fields),
    ...unitsOfFields(fields),
    ...imageSizeOfFields(fields),
    x: noAxis,
    y: noAxis,
    width: number("Size-1"),
    height: number("Size-2"),
    strength: number("Denoising strength"),
    // The web UI says nothing about its own default, which is CUDA's generator.
    rng: fields.RNG ? rngOf[fields.RNG] : fields.Version?.startsWith("tfjs-diffusion") ? undefined : "philox",
    maskBlur: number("Mask blur"),
    maskedContent: fields["Masked content"],
    padding: number("Masked area padding"),
    softMask: fields["Soft mask"] === "true",
    padPrompts: fields["Pad conds"] === "True",
    onlyMasked: fields["Inpaint area"] === "Only masked",
    ...(fields.Sampler &&
      schedulerSettings({ sampler: fields.Sampler, schedule: fields["Schedule type"] }, list)),
    ...(bottom !== undefined && { left, top, right, bottom }),
  };
  const sound = Object.entries(found).filter(
    ([, value]) => value !== undefined && !(typeof value === "number" && Number.isNaN(value)),
  );
  return Object.fromEntries(sound) as Partial<Settings>;
}

/** The size that a picture was repainted at. Where a part was, or a margin, the text has the size of the whole. */
function imageSizeOfFields(fields: Readonly<Record<string, string>>): Partial<Settings> {
  const [width, height] = [Number(fields["Size-1"]), Number(fields["Size-2"])];
  const whole = !fields.Outpaint && fields["Inpaint area"] !== "Only masked";
  const isImage = fields["Denoising strength"] !== undefined && !hiresOfFields(fields).hires;
  // Sides that no network takes are those of a picture that was painted into.
  return isImage && whole && width % 8 === 0 && height % 8 === 0
    ? { imageWidth: width, imageHeight: height }
    : {};
}

/** What the parameters text says of a second pass: a factor, or the size that it comes to, 0 for a side left open. */
function hiresOfFields(fields: Readonly<Record<string, string>>): Partial<Settings> {
  const [width, height] = [Number(fields["Hires resize-1"] ?? 0), Number(fields["Hires resize-2"] ?? 0)];
  const scale = Number(fields["Hires upscale"] ?? 0);
  if (!(scale > 0 || width > 0 || height > 0)) return { hires: false };
  const ours = fields.Version?.startsWith("tfjs-diffusion");
  return {
    hires: true,
    ...(scale > 0 && { hiresScale: scale }),
    hiresWidth: scale > 0 ? 0 : width,
    hiresHeight: scale > 0 ? 0 : height,
    // The web UI says them only where they are not those of the first pass.
    hiresSteps: Number(fields["Hires steps"] ?? (ours ? 0 : fields.Steps)),
    hiresStrength: Number(fields["Denoising strength"] ?? 0.7),
    hiresUpscaler: ownUpscalerName(fields["Hires upscaler"] ?? hiresUpscalers[0]),
  };
}
