import { axisOptions, furtherNames, gridOf } from "./axes.js";
import type { Extent } from "./fields/picture-fit.js";
import { seedOf } from "./fields/seeds.js";
import { type Followed, requestOfUnits } from "./followed/units.js";
import type { Mode } from "./form-store.js";
import type { ModelView } from "./server.js";
import { broughtTo, isCloseUp, type Settings, type Sources } from "./settings.js";

/* What the forms send: settings that are left to the model or to the library are not in it. */

/** What a form is sent with beside its settings. */
export interface Sent {
  readonly model: ModelView | undefined;
  readonly followed: Followed;
}

/** The body of POST /jobs for a form. @param followed pictures to follow, by the id of what follows them */
export function requestOf(mode: Mode, form: Settings, source: Sources, { model, followed }: Sent): object {
  const { image, mask } = source;
  if (mode === "upscale") return { kind: "upscale", image, scale: form.scale, upscaler: form.upscaler };
  const grid = gridOf(form, axisOptions(mode));
  const { variationStrength, variationSeed } = form;
  const common = {
    ...(model && { model: model.label }),
    ...(form.steps > 0 && { steps: form.steps }),
    ...(grid ? { grid } : { count: form.count }),
    rng: form.rng,
    ...seedSaid(form.seed),
    ...(variationStrength > 0 && {
      variation: { strength: variationStrength, ...seedSaid(variationSeed) },
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
    ...(form.guidance > 0 && { guidance: form.guidance }),
    ...requestOfUnits(form, followed),
    ...Object.fromEntries(furtherNames.flatMap((name) => (form[name] > 0 ? [[name, form[name]]] : []))),
    ...(form.pagScale > 0 && { pag: { scale: form.pagScale } }),
    ...(form.padPrompts && { padPrompts: true }),
    ...(form.freeu.trim() && { freeu: freeuOf(form.freeu) }),
  };
  const { maskBlur, maskedContent, padding, left, right, top, bottom } = form;
  const strength = form.strength > 0 && { strength: form.strength };
  switch (mode) {
    case "text":
      return { ...text, ...size, ...refinerOf(form, model), ...(form.hires && { hires: hiresOf(form) }) };
    case "image":
      return {
        ...text,
        ...resizedTo(form, broughtTo(source, model)),
        ...(model?.isRefiner && scoresOf(form)),
        ...strength,
        image,
      };
    case "inpaint":
      return {
        ...text,
        ...resizedTo(form),
        image,
        mask,
        ...strength,
        maskBlur,
        // A soft mask starts from the image itself.
        ...(form.softMask ? { softMask: true } : { maskedContent }),
        ...(isCloseUp(form, source, model) && { onlyMasked: { padding } }),
      };
    case "outpaint":
      return { ...text, ...strength, image, expand: { left, right, top, bottom } };
  }
}

/** What finishes a picture from noise, and what it is told. */
const refinerOf = (
  { refiner, refinerSwitch: switchAt, ...form }: Settings,
  model: ModelView | undefined,
) => ({
  ...(refiner && { refiner: { model: refiner, switchAt } }),
  ...((refiner || model?.isRefiner) && scoresOf(form)),
});

const scoresOf = ({
  aestheticScore,
  negativeAestheticScore,
}: Pick<Settings, "aestheticScore" | "negativeAestheticScore">) => ({
  ...(aestheticScore > 0 && { aestheticScore }),
  ...(negativeAestheticScore > 0 && { negativeAestheticScore }),
});

/** Four numbers with commas or spaces between them; what is missing or none is refused by its name. */
function freeuOf(text: string) {
  const [b1, b2, s1, s2] = text
    .trim()
    .split(/[\s,]+/)
    .map(Number);
  return { b1, b2, s1, s2 };
}

const seedSaid = (text: string): { seed?: string } => {
  const seed = seedOf(text);
  return seed === undefined ? {} : { seed };
};

const resizedTo = ({ imageWidth, imageHeight, resizeMode }: Settings, brought?: Extent) => {
  const [width, height] = [imageWidth || brought?.width, imageHeight || brought?.height];
  return { ...(width && { width }), ...(height && { height }), resizeMode };
};

const hiresOf = ({ hiresWidth: width, hiresHeight: height, ...form }: Settings) => ({
  ...(width > 0 && { width }),
  ...(height > 0 && { height }),
  ...(width <= 0 && height <= 0 && { scale: form.hiresScale }),
  strength: form.hiresStrength,
  upscaler: form.hiresUpscaler,
  ...(form.hiresSteps > 0 && { steps: form.hiresSteps }),
});
