import { models, schedulers } from "./catalog.js";
import type { Mode } from "./form-store.js";
import { leftOut } from "./left-out.js";
import { chooseNoStyles } from "./prompt-styles/prompt-styles.js";
import { settingsOfFields } from "./restored-settings.js";
import { ask, type ModelView } from "./server.js";
import { modelSetting, settings } from "./settings.js";
import type { Word } from "./words.js";

/** What a picture has brought back. */
export interface Restored {
  /** The form that it was made with; absent where the picture says nothing. */
  readonly mode?: Mode;
  readonly word: Word;
  /** The model that is meant. */
  readonly model: string;
  /** Names of the settings in its text that no form has. */
  readonly leftOut: readonly string[];
}

/** Fills the form that a picture was made with by the text inside it. */
export async function restorePicture(file: File): Promise<Restored> {
  const { parameters } = await ask("POST /sdapi/v1/png-info", { body: { image: await base64Of(file) } });
  const { Model = "", Precision = "FP32" } = parameters;
  // Of one that was only enlarged there is nothing to make again.
  const says = Object.keys(parameters).length > 0 && (parameters.Steps || parameters.Prompt);
  if (!says) return { word: "noParameters", model: "", leftOut: [] };
  const entries = models.get().models.filter(({ name }) => name === Model);
  const entry = entries.find(({ label }) => label.endsWith(` ${Precision}`)) ?? entries[0];
  const mode = modeOf(parameters, entry);
  chooseNoStyles();
  const found = settingsOfFields(parameters, schedulers.get());
  settings.updateOf(mode, {
    ...found,
    ...(ignoresClipSkip(parameters, entry) && { clipSkip: 0 }),
    ...(entry && modelSetting(entry)),
  });
  return {
    mode,
    word: Model && !entry ? "modelMissing" : wordOf(mode),
    model: Model,
    leftOut: leftOut(parameters, found),
  };
}

/** Of pictures of the web UI, whose clip skip is for Stable Diffusion 1; our own say what the library was asked for. */
function ignoresClipSkip(
  { Version }: Readonly<Record<string, string>>,
  entry: ModelView | undefined,
): boolean {
  const chosen = (known: ModelView) => known.label === settings.get().model;
  const all = models.get().models;
  const model = entry ?? all.find(chosen) ?? all.find(({ current }) => current);
  return model?.ignoresWebuiClipSkip === true && !Version?.startsWith("tfjs-diffusion");
}

const wordOf = (mode: Mode): Word => {
  if (mode === "inpaint") return "restoredInpaint";
  return mode === "image" || mode === "outpaint" ? "restoredImage" : "restored";
};

/** The form that makes such pictures. */
function modeOf(fields: Readonly<Record<string, string>>, model: ModelView | undefined): Mode {
  if (fields.Outpaint !== undefined) return "outpaint";
  if (fields["Mask blur"] !== undefined || fields["Masked content"] !== undefined) return "inpaint";
  const hasSecondPass = Object.keys(fields).some((name) => name.startsWith("Hires "));
  if (fields["Denoising strength"] !== undefined && !hasSecondPass) return "image";
  return model?.kind === "unconditional" ? "unconditional" : "text";
}

function base64Of(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^data:[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
