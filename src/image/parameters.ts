import { demand } from "../errors.js";
/**
 * The text that the AUTOMATIC1111 web UI writes into its pictures (PNG text "parameters") and reads back: prompt,
 * "Negative prompt: ..." and one line of settings, `Steps: 20, Sampler: Euler a, ...` (`modules/processing.py`,
 * `modules/infotext_utils.py`). With it a picture carries what is needed to make it again, there and here.
 */

export interface Parameters {
  readonly prompt: string;
  readonly negativePrompt?: string;
  readonly steps?: number;
  /** Under the web UI's name, "Euler a". */
  readonly sampler?: string;
  /** "Karras", "Exponential", ...; "Automatic" where the web UI chooses. */
  readonly scheduleType?: string;
  readonly guidance?: number;
  readonly seed?: number | bigint;
  readonly size?: { readonly width: number; readonly height: number };
  /** First 10 hexadecimal digits of the SHA-256 of the checkpoint file. */
  readonly modelHash?: string;
  readonly model?: string;
  readonly strength?: number;
  /** The web UI counts from 1 (the last layer, not written): 2 is the layer before it. */
  readonly clipSkip?: number;
  /** Everything else under the web UI's names: "VAE", "RNG" ("CPU", "NV"), "Hires upscale", "Version", ... */
  readonly extra?: Readonly<Record<string, string | number>>;
}

/** The keys that stand first, in the web UI's order; keys that it does not know follow, then the last ones. */
const FIRST = [
  "Steps",
  "Sampler",
  "Schedule type",
  "CFG scale",
  "Image CFG scale",
  "Seed",
  "Face restoration",
  "Size",
  "Model hash",
  "Model",
  "VAE hash",
  "VAE",
  "Variation seed",
  "Variation seed strength",
  "Seed resize from",
  "Denoising strength",
  "Conditional mask weight",
  "Clip skip",
  "ENSD",
  "Token merging ratio",
  "Token merging ratio hr",
  "Init image hash",
  "RNG",
  "NGMS",
  "Tiling",
];
const LAST = ["Version", "User"];

const NEGATIVE = "Negative prompt:";
/** No unbounded repetition may follow another here: texts come from files of strangers. */
const SETTING = /([\p{L}\p{N}_][\p{L}\p{N}_ \-/]{0,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/gu;
/** Fewer settings than this in the last line and the line belongs to the prompt. */
const FEWEST_SETTINGS = 3;

/** The text for a picture. Settings that are absent or empty are left out. */
export function formatParameters(parameters: Parameters): string {
  demand("parameters", parameters, "object");
  const { prompt, negativePrompt, size, clipSkip, extra } = parameters;
  const settings: Record<string, string | number | bigint | undefined> = {
    ...extra,
    Steps: parameters.steps,
    Sampler: parameters.sampler,
    "Schedule type": parameters.scheduleType,
    "CFG scale": parameters.guidance,
    Seed: parameters.seed,
    Size: size && `${size.width}x${size.height}`,
    "Model hash": parameters.modelHash,
    Model: parameters.model,
    "Denoising strength": parameters.strength,
    "Clip skip": clipSkip !== undefined && clipSkip > 1 ? clipSkip : undefined,
  };
  const rank = (key: string) => {
    if (LAST.includes(key)) return FIRST.length + 1 + LAST.indexOf(key);
    const first = FIRST.indexOf(key);
    return first < 0 ? FIRST.length : first;
  };
  const line = Object.entries(settings)
    .filter(([, value]) => value !== undefined && value !== "")
    .sort(([a], [b]) => rank(a) - rank(b)) // stable: unknown keys keep their order
    .map(([key, value]) => `${key}: ${quoted(String(value))}`)
    .join(", ");
  return [prompt, negativePrompt ? `${NEGATIVE} ${negativePrompt}` : "", line]
    .filter((part, i) => i === 0 || part !== "")
    .join("\n");
}

/** Quoted as JSON where the value would be taken apart otherwise. */
const quoted = (value: string): string => (/[,:\n]|^"|^\s|\s$/.test(value) ? JSON.stringify(value) : value);

/** Reads the text of a picture. What is not a number where one belongs is found in `extra`. */
export function parseParameters(text: string): Parameters {
  const { prompt, negativePrompt, settings } = takeApart(text);
  const take = <T>(key: string, read: (value: string) => T | undefined): T | undefined => {
    const value = settings.get(key);
    const result = value === undefined ? undefined : read(value);
    if (result !== undefined) settings.delete(key);
    return result;
  };
  const asText = (value: string) => value;
  const known = {
    negativePrompt: negativePrompt || undefined,
    steps: take("Steps", asNumber),
    sampler: take("Sampler", asText),
    scheduleType: take("Schedule type", asText),
    guidance: take("CFG scale", asNumber),
    seed: take("Seed", asSeed),
    size: take("Size", asSize),
    modelHash: take("Model hash", asText),
    model: take("Model", asText),
    strength: take("Denoising strength", asNumber),
    clipSkip: take("Clip skip", asNumber),
    extra: settings.size > 0 ? Object.fromEntries(settings) : undefined,
  };
  const present = Object.entries(known).filter(([, value]) => value !== undefined);
  return { prompt, ...(Object.fromEntries(present) as Partial<Parameters>) };
}

/**
 * The same as the web UI's API gives it (`parameters` of `/sdapi/v1/png-info`): all values texts under its own
 * names, `512x768` taken apart into `Size-1` and `Size-2`.
 */
export function parseFields(text: string): Record<string, string> {
  const { prompt, negativePrompt, settings } = takeApart(text);
  const fields: [string, string][] = [
    ["Prompt", prompt],
    ["Negative prompt", negativePrompt],
  ];
  for (const [key, value] of settings) {
    const size = asSize(value);
    if (size) fields.push([`${key}-1`, String(size.width)], [`${key}-2`, String(size.height)]);
    else fields.push([key, value]);
  }
  return Object.fromEntries(fields);
}

function takeApart(text: string) {
  demand("parameters", text, "text");
  const lines = text.replaceAll("\r\n", "\n").trim().split("\n");
  const found = [...lines.at(-1)!.matchAll(SETTING)];
  const isSettings = found.length >= FEWEST_SETTINGS;
  if (isSettings) lines.pop();
  const negative = lines.findIndex((line) => line.trimStart().startsWith(NEGATIVE));
  const upTo = negative < 0 ? lines.length : negative;
  return {
    prompt: lines.slice(0, upTo).join("\n").trim(),
    negativePrompt: lines.slice(upTo).join("\n").trim().slice(NEGATIVE.length).trim(),
    settings: new Map(
      isSettings ? found.map(([, key, value]) => [key!.trim(), unquoted(value!.trim())]) : [],
    ),
  };
}

function unquoted(value: string): string {
  if (!/^".*"$/s.test(value)) return value;
  try {
    const text: unknown = JSON.parse(value);
    return typeof text === "string" ? text : value;
  } catch {
    return value;
  }
}

function asNumber(value: string): number | undefined {
  const number = Number(value);
  return value.trim() !== "" && Number.isFinite(number) ? number : undefined;
}

function asSeed(value: string): number | bigint | undefined {
  if (!/^\d{1,20}$/.test(value)) return undefined;
  return Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value);
}

function asSize(value: string): { width: number; height: number } | undefined {
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(value) ?? [];
  return width && height ? { width: Number(width), height: Number(height) } : undefined;
}
