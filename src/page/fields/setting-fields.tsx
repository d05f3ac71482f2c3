import { type Settings, settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import type { Word } from "../words.js";
import { NumberField, Slider } from "./fields.js";

/** Settings that are numbers and have a word of the same name. */
type NumberName = {
  [Name in keyof Settings]: Settings[Name] extends number ? Name : never;
}[keyof Settings] &
  Word;

interface Range {
  readonly name: NumberName;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** Shown for 0, which leaves the value to the model. */
  readonly otherwise?: number;
}

function useNumber({ name, min, max, step, otherwise }: Range) {
  const t = useWords();
  const value = useStore(settings)[name];
  const onChange = (value: number) => settings.update({ [name]: value });
  return { label: t(name), value: value || (otherwise ?? value), min, max, step, onChange };
}

/** A number of the settings in a field, under its own word. */
export const SettingNumber = (range: Range) => <NumberField {...useNumber(range)} />;

/** The same with a slider. */
export const SettingSlider = (range: Range) => <Slider {...useNumber(range)} />;
