import { type Command, InvalidArgumentError } from "commander";
import { nearest } from "../../errors.js";
import { type ControlInput, type IpAdapterInput, type Preprocessor, preprocessors } from "../../index.js";
import { readNumber } from "../arguments.js";

/** Flags that may be given several times, each with several settings. */
export interface ControlFlags {
  control?: ControlInput[];
  ipAdapter?: IpAdapterInput[];
}

export function addControlOptions(command: Command): void {
  command
    .optionsGroup("Following pictures (each may be given several times):")
    .option(
      "--control <settings>",
      `a ControlNet or T2I-Adapter to follow: model=owner/name,image=room.png and, if wanted, scale=1, start=0, end=1 (shares of the steps), guess, preprocess=${preprocessors.join("|")} (or several, depth+invert), low=100, high=200 (canny's thresholds), mask=holes.png (ControlNets for inpainting: white is a hole)`,
      appended(readControl),
    )
    .option(
      "--ip-adapter <settings>",
      "a picture beside the prompt: model=owner/name:folder/file.safetensors,image=dog.png (image again: several) and, if wanted, scale=1, start=0, end=1, imageEncoder=folder",
      appended(readIpAdapter),
    );
}

/** What several uses of a flag come to. */
const appended =
  <T>(read: (text: string) => T) =>
  (text: string, before: readonly T[] = []): T[] => [...before, read(text)];

const controlKeys = [
  ...(["model", "image", "mask", "scale", "start", "end", "guess", "preprocess"] as const),
  ...(["low", "high"] as const),
];

export function readControl(text: string): ControlInput {
  const settings = readSettings(text, controlKeys);
  const { model, image, mask, guess, preprocess, low, high, ...numbers } = settings;
  if (!model || !image)
    throw new InvalidArgumentError(
      "Expected at least model and image, as in model=owner/name,image=room.png.",
    );
  if (guess !== undefined && guess !== "" && guess !== "true" && guess !== "false")
    throw new InvalidArgumentError("guess is given alone, or is true or false.");
  const steps = preprocess?.split("+") ?? [];
  const thresholds = asNumbers({ low, high });
  if (Object.keys(thresholds).length > 0 && !steps.includes("canny"))
    throw new InvalidArgumentError("low and high are thresholds of preprocess=canny.");
  const prepare = steps.map((name) => (name === "canny" ? { name, ...thresholds } : name)) as Preprocessor[];
  return {
    ...{ model, image },
    ...(mask && { mask }),
    ...asNumbers(numbers),
    ...(guess !== undefined && { guess: guess !== "false" }),
    ...(prepare.length > 0 && { preprocess: prepare }),
  };
}

const ipAdapterKeys = ["model", "image", "scale", "start", "end", "imageEncoder"] as const;

export function readIpAdapter(text: string): IpAdapterInput {
  const images: string[] = [];
  const settings = readSettings(text, ipAdapterKeys, (key, value) => {
    if (key !== "image") return false;
    images.push(value);
    return true;
  });
  const { model, image: _, imageEncoder, ...numbers } = settings;
  if (!model || images.length === 0 || images.includes(""))
    throw new InvalidArgumentError(
      "Expected at least model and image, as in model=ip-adapter_sd15.safetensors,image=dog.png.",
    );
  return {
    ...{ model, image: images.length === 1 ? images[0]! : images },
    ...(imageEncoder !== undefined && { imageEncoder }),
    ...asNumbers(numbers),
  };
}

/**
 * "key=value,key=value", keys without a value being empty. Values may hold commas and equals signs, as file names do:
 * a comma only ends one where a known key follows.
 *
 * @param take takes settings that may be given several times, and says so
 */
export function readSettings<K extends string>(
  text: string,
  keys: readonly K[],
  take: (key: K, value: string) => boolean = () => false,
): Partial<Record<K, string>> {
  const parts = text.split(new RegExp(`,(?=\\s*(?:${keys.join("|")})\\s*(?:=|,|$))`));
  const settings: Partial<Record<K, string>> = {};
  for (const part of parts) {
    const [, name = "", value = ""] = /^\s*([^=]*?)\s*(?:=(.*))?$/s.exec(part) ?? [];
    const key = keys.find((known) => known === name);
    if (!key) {
      const near = nearest(name, keys);
      throw new InvalidArgumentError(
        `There is no setting ${name}${near ? ` (did you mean ${near}?)` : ""}; settings are ${keys.join(", ")}.`,
      );
    }
    if (take(key, value.trim())) continue;
    if (settings[key] !== undefined) throw new InvalidArgumentError(`${key} is given twice.`);
    settings[key] = value.trim();
  }
  return settings;
}

function asNumbers<K extends string>(
  settings: Partial<Record<K, string | undefined>>,
): Partial<Record<K, number>> {
  const numbers: Partial<Record<K, number>> = {};
  for (const [key, value] of Object.entries(settings) as [K, string | undefined][]) {
    if (value === undefined) continue;
    try {
      numbers[key] = readNumber(value);
    } catch {
      throw new InvalidArgumentError(`${key} must be a number, got ${value}.`);
    }
  }
  return numbers;
}
