import { type AxisSetting, axisOptions, gridOf, noAxis } from "./axes.js";
import type { ModelEntry, SchedulerList, ShownRequest } from "./server.js";
import { createStore, rememberedStore } from "./store.js";

/** What the forms hold. Empty strings are left to the server. */
export interface Settings {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly steps: number;
  readonly guidance: number;
  readonly guidanceRescale: number;
  readonly width: number;
  readonly height: number;
  readonly count: number;
  readonly seed: string;
  /** 0 is none. */
  readonly variationStrength: number;
  readonly variationSeed: string;
  /** A second pass at a larger size. */
  readonly hires: boolean;
  readonly hiresScale: number;
  /** 0 leaves them to the strength. */
  readonly hiresSteps: number;
  readonly hiresStrength: number;
  readonly hiresUpscaler: string;
  /** Name of a ControlNet; empty for none. */
  readonly control: string;
  readonly controlPreprocess: string;
  readonly controlScale: number;
  readonly controlStart: number;
  readonly controlEnd: number;
  readonly x: AxisSetting;
  readonly y: AxisSetting;
  readonly scheduler: string;
  readonly schedule: string;
  readonly clipSkip: number;
  readonly rng: "torch" | "philox" | "seedrandom";
  readonly strength: number;
  /** Of image to image and inpainting; 0 is the picture's own. */
  readonly imageWidth: number;
  readonly imageHeight: number;
  readonly resizeMode: "stretch" | "crop" | "fill";
  readonly maskBlur: number;
  readonly maskedContent: "original" | "fill" | "noise" | "nothing";
  readonly onlyMasked: boolean;
  readonly padding: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly upscaler: string;
  readonly scale: number;
  /** Labels of the chosen options, by what the form is for; empty: the server's default. */
  readonly model: string;
  readonly unconditionalModel: string;
}

export const settings = rememberedStore<Settings>("settings", {
  prompt: "",
  negativePrompt: "",
  steps: 20,
  guidance: 5,
  guidanceRescale: 0,
  width: 0,
  height: 0,
  count: 1,
  seed: "",
  variationStrength: 0,
  variationSeed: "",
  hires: false,
  hiresScale: 1.5,
  hiresSteps: 0,
  hiresStrength: 0.7,
  hiresUpscaler: "latent",
  control: "",
  controlPreprocess: "",
  controlScale: 1,
  controlStart: 0,
  controlEnd: 1,
  x: noAxis,
  y: noAxis,
  scheduler: "dpmpp_2m",
  schedule: "",
  clipSkip: 0,
  rng: "torch",
  strength: 0.75,
  imageWidth: 0,
  imageHeight: 0,
  resizeMode: "stretch",
  maskBlur: 4,
  maskedContent: "original",
  onlyMasked: false,
  padding: 32,
  left: 64,
  right: 64,
  top: 0,
  bottom: 0,
  upscaler: "Lanczos",
  scale: 2,
  model: "",
  unconditionalModel: "",
});

/** The pictures that the forms work on, as data: URLs; too large to remember. */
export interface Sources {
  /** The picture of image to image, inpaint, outpaint and upscale. */
  readonly image: string;
  readonly width: number;
  readonly height: number;
  /** White on black; empty while nothing is painted. */
  readonly mask: string;
}
export const noSources: Sources = { image: "", width: 0, height: 0, mask: "" };
export const sources = createStore<Sources>(noSources);
/** The picture that a ControlNet follows. */
export const controlPicture = createStore("");

export type Mode = "text" | "image" | "inpaint" | "outpaint" | "upscale" | "unconditional";

/** The body of POST /jobs for a form. @param model label of the option @param control the picture to follow, if any */
export function requestOf(
  mode: Mode,
  form: Settings,
  { image, mask }: Sources,
  model: string,
  control = "",
): object {
  if (mode === "upscale") return { kind: "upscale", image, scale: form.scale, upscaler: form.upscaler };
  const grid = gridOf(form, axisOptions(mode));
  const { variationStrength, variationSeed } = form;
  const common = {
    ...(model && { model }),
    steps: form.steps,
    ...(grid ? { grid } : { count: form.count }),
    rng: form.rng,
    ...(form.seed !== "" && { seed: form.seed }),
    ...(variationStrength > 0 && {
      variation: { strength: variationStrength, ...(variationSeed !== "" && { seed: variationSeed }) },
    }),
    ...(form.scheduler && {
      scheduler: form.schedule ? `${form.scheduler}_${form.schedule}` : form.scheduler,
    }),
  };
  const size = {
    ...(form.width > 0 && { width: form.width }),
    ...(form.height > 0 && { height: form.height }),
  };
  if (mode === "unconditional") return common;
  const text = {
    ...common,
    prompt: form.prompt,
    promptSyntax: "a1111",
    ...(form.negativePrompt && { negativePrompt: form.negativePrompt }),
    guidance: form.guidance,
    ...(control && { controlnet: [controlOf(form, control)] }),
    ...(form.guidanceRescale > 0 && { guidanceRescale: form.guidanceRescale }),
    ...(form.clipSkip > 0 && { clipSkip: form.clipSkip }),
  };
  const { strength, maskBlur, maskedContent, onlyMasked, padding, left, right, top, bottom } = form;
  switch (mode) {
    case "text":
      return { ...text, ...size, ...(form.hires && { hires: hiresOf(form) }) };
    case "image":
      return { ...text, ...resizedTo(form), image, strength };
    case "inpaint":
      return {
        ...text,
        ...resizedTo(form),
        image,
        mask,
        strength,
        maskBlur,
        maskedContent,
        ...(onlyMasked && { onlyMasked: { padding } }),
      };
    case "outpaint":
      return { ...text, image, expand: { left, right, top, bottom } };
  }
}

const resizedTo = ({ imageWidth, imageHeight, resizeMode }: Settings) => ({
  ...(imageWidth > 0 && { width: imageWidth }),
  ...(imageHeight > 0 && { height: imageHeight }),
  resizeMode,
});

const controlOf = (form: Settings, image: string) => ({
  model: form.control,
  image,
  scale: form.controlScale,
  start: form.controlStart,
  end: form.controlEnd,
  ...(form.controlPreprocess && { preprocess: form.controlPreprocess }),
});

const hiresOf = ({ hiresScale, hiresSteps, hiresStrength, hiresUpscaler }: Settings) => ({
  scale: hiresScale,
  strength: hiresStrength,
  upscaler: hiresUpscaler,
  ...(hiresSteps > 0 && { steps: hiresSteps }),
});

/** The choice of a model, in the form that it is for. */
export const modelSetting = ({ kind, label }: Pick<ModelEntry, "kind" | "label">): Partial<Settings> =>
  kind === "unconditional" ? { unconditionalModel: label } : { model: label };

/** Settings of a job of the history. */
export function settingsOf(request: ShownRequest, list: SchedulerList): Partial<Settings> {
  const {
    expand,
    onlyMasked,
    seed,
    scheduler,
    variation,
    hires,
    grid,
    controlnet,
    width = 0,
    height = 0,
    ...rest
  } = request as ShownRequest & { readonly width?: number; readonly height?: number };
  const [control] = controlnet ?? [];
  const { strength = 0, seed: varied = "" } = (variation ?? {}) as { strength?: number; seed?: unknown };
  const second = hires as
    | undefined
    | { scale?: number; steps?: number; strength?: number; upscaler?: string };
  const known = settings.get();
  const plain = Object.fromEntries(Object.entries(rest).filter(([key]) => key in known && key !== "model"));
  return {
    ...plain,
    guidanceRescale: typeof rest.guidanceRescale === "number" ? rest.guidanceRescale : 0,
    variationStrength: strength,
    variationSeed: String(varied),
    // Sizes in place of a factor have no field.
    hires: second?.scale !== undefined,
    ...(second && {
      hiresScale: second.scale ?? 1.5,
      hiresSteps: second.steps ?? 0,
      hiresStrength: second.strength ?? 0.7,
      hiresUpscaler: second.upscaler ?? "latent",
    }),
    control: control?.model ?? "",
    ...(control && {
      controlPreprocess: typeof control.preprocess === "string" ? control.preprocess : "",
      controlScale: control.scale ?? 1,
      controlStart: control.start ?? 0,
      controlEnd: control.end ?? 1,
    }),
    x: noAxis,
    y: noAxis,
    scheduler: "",
    schedule: "",
    ...schedulerSettings(scheduler, list),
    ...(seed !== undefined && { seed: String(seed) }),
    ...(rest.image || rest.images ? { imageWidth: width, imageHeight: height } : { width, height }),
    resizeMode: (rest.resizeMode ?? "stretch") as Settings["resizeMode"],
    ...(typeof expand === "object" && { left: 0, right: 0, top: 0, bottom: 0, ...expand }),
    onlyMasked: Boolean(onlyMasked),
    ...(typeof onlyMasked === "object" && (onlyMasked as { padding?: number })),
  };
}

/** By the library's name ("dpmpp_2m_karras"), or by labels of the web UI, which its API's clients send. */
function schedulerSettings(
  scheduler: unknown,
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
  const { sampler = "", schedule } = (scheduler ?? {}) as { sampler?: string; schedule?: string };
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
  const clipSkip = number("Clip skip");
  const [left, top, right, bottom] = (fields.Outpaint ?? "").split(" ").filter(Boolean).map(Number);
  const found: Partial<Record<keyof Settings, unknown>> = {
    prompt: fields.Prompt ?? "",
    negativePrompt: fields["Negative prompt"] ?? "",
    steps: number("Steps"),
    guidance: number("CFG scale"),
    guidanceRescale: number("Guidance rescale") ?? 0,
    seed: fields.Seed,
    variationStrength: number("Variation seed strength") ?? 0,
    variationSeed: fields["Variation seed"] ?? "",
    ...hiresOfFields(fields),
    ...imageSizeOfFields(fields),
    x: noAxis,
    y: noAxis,
    width: number("Size-1"),
    height: number("Size-2"),
    strength: number("Denoising strength"),
    clipSkip: clipSkip === undefined ? 0 : clipSkip - 1,
    // The web UI says nothing about its own default, which is CUDA's generator.
    rng: fields.RNG ? rngOf[fields.RNG] : fields.Version?.startsWith("tfjs-diffusion") ? undefined : "philox",
    maskBlur: number("Mask blur"),
    maskedContent: fields["Masked content"],
    padding: number("Masked area padding"),
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

/** What the parameters text says of a second pass: a factor, or the size that it comes to. */
function hiresOfFields(fields: Readonly<Record<string, string>>): Partial<Settings> {
  const [width = 0] = (fields["Hires resize"] ?? "").split("x").map(Number);
  const scale = Number(fields["Hires upscale"] ?? width / Number(fields["Size-1"]));
  if (!(scale >= 1)) return { hires: false };
  return {
    hires: true,
    hiresScale: Math.round(scale * 100) / 100,
    hiresSteps: Number(fields["Hires steps"] ?? 0),
    hiresStrength: Number(fields["Denoising strength"] ?? 0.7),
    hiresUpscaler:
      hiresUpscalers.find((name) => name === fields["Hires upscaler"]?.toLowerCase()) ?? "latent",
  };
}

export const hiresUpscalers = [
  "latent",
  "latent-bicubic",
  "latent-nearest",
  "lanczos",
  "bilinear",
  "nearest",
];
