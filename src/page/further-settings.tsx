import { hiresUpscalers } from "../options/choices.js";
import { type AxisSetting, axisOptions, separatorOf } from "./axes.js";
import { models, upscalerNetworks } from "./catalog.js";
import { Check, choicesOrNone, Select, TextField } from "./fields/fields.js";
import { SeedField } from "./fields/seed-field.js";
import { SettingNumber, SettingSlider } from "./fields/setting-fields.js";
import type { ModelView } from "./server.js";
import { type Mode, type Settings, settings } from "./settings.js";
import { useStore, useWords } from "./store.js";

const resamplers: readonly string[] = hiresUpscalers;
const change = (changes: Partial<Settings>) => settings.update(changes);

/** A second pass at a larger size. */
export function HiresSettings() {
  const t = useWords();
  const { hires, hiresUpscaler } = useStore(settings);
  const networks = useStore(upscalerNetworks);
  // One that a picture names and this server lacks is shown as well: the server says what there is.
  const others = [...new Set([...networks, hiresUpscaler])].filter((name) => !resamplers.includes(name));
  const choices = [
    ...resamplers.map((name) => ({ value: name, label: name.replace("-", ", ") })),
    ...others.map((name) => ({ value: name, label: name })),
  ];
  return (
    <details open={hires}>
      <summary>{t("hiresFix")}</summary>
      <div class="fields">
        <Check label={t("hires")} value={hires} onChange={(hires) => change({ hires })} />
        {hires && (
          <>
            <SettingSlider name="hiresScale" min={1} max={4} step={0.25} />
            <SettingSlider name="hiresStrength" min={0.05} max={1} step={0.05} />
            <div class="grid">
              <SettingNumber name="hiresWidth" min={0} max={16384} step={8} />
              <SettingNumber name="hiresHeight" min={0} max={16384} step={8} />
              <SettingNumber name="hiresSteps" min={0} max={150} step={1} />
              <Select
                label={t("upscaler")}
                value={hiresUpscaler}
                choices={choices}
                onChange={(hiresUpscaler) => change({ hiresUpscaler })}
              />
            </div>
          </>
        )}
      </div>
    </details>
  );
}

/** Noise between that of two seeds. */
export function VariationSettings() {
  const t = useWords();
  const { variationSeed } = useStore(settings);
  return (
    <>
      <SettingSlider name="variationStrength" min={0} max={1} step={0.05} />
      <SeedField
        label={t("variationSeed")}
        diceLabel={t("variationRandom")}
        value={variationSeed}
        onChange={(variationSeed) => change({ variationSeed })}
      />
    </>
  );
}

/** Ways to better pictures that cost time, or change them much. */
export function QualitySettings() {
  const t = useWords();
  const { freeu, padPrompts } = useStore(settings);
  return (
    <>
      <SettingSlider name="pagScale" min={0} max={10} step={0.5} />
      <TextField
        label={t("freeu")}
        value={freeu}
        placeholder="1.5 1.6 0.9 0.2"
        onChange={(freeu) => change({ freeu })}
      />
      <Check label={t("padPrompts")} value={padPrompts} onChange={(padPrompts) => change({ padPrompts })} />
    </>
  );
}

/** A second model that finishes, where there is one; and what a refiner is told of beauty, where one is used. */
export function RefinerSettings({
  mode,
  model,
}: {
  readonly mode: Mode;
  readonly model: ModelView | undefined;
}) {
  const t = useWords();
  const { refiner } = useStore(settings);
  const known = useStore(models).models.filter(({ isRefiner }) => isRefiner);
  // One that a job had and this server has no more is shown as well: the server says so.
  const labels = [...new Set([...known.map(({ label }) => label), ...(refiner ? [refiner] : [])])];
  const isOffered = mode === "text" && labels.length > 0;
  const isTold = (isOffered && refiner !== "") || ((mode === "text" || mode === "image") && model?.isRefiner);
  return (
    <>
      {isOffered && (
        <Select
          label={t("refiner")}
          value={refiner}
          choices={choicesOrNone(labels, (label) => label)}
          onChange={(refiner) => change({ refiner })}
        />
      )}
      {isOffered && refiner !== "" && (
        <SettingSlider name="refinerSwitch" min={0.05} max={0.95} step={0.05} />
      )}
      {isTold && (
        <div class="grid">
          <SettingNumber name="aestheticScore" min={0} max={10} step={0.5} />
          <SettingNumber name="negativeAestheticScore" min={0} max={10} step={0.5} />
        </div>
      )}
    </>
  );
}

/** One picture for each pair of values. */
export function GridSettings({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const { x, y } = useStore(settings);
  return (
    <details open={x.option !== "" || y.option !== ""}>
      <summary>{t("xyGrid")}</summary>
      <div class="fields">
        <AxisFields mode={mode} name="x" axis={x} />
        <AxisFields mode={mode} name="y" axis={y} />
      </div>
    </details>
  );
}

function AxisFields({
  mode,
  name,
  axis,
}: {
  readonly mode: Mode;
  readonly name: "x" | "y";
  readonly axis: AxisSetting;
}) {
  const t = useWords();
  const options = axisOptions(mode);
  const option = options.find((option) => option === axis.option) ?? "";
  const title = t(name === "x" ? "columns" : "rows");
  return (
    <div class="grid">
      <Select
        label={title}
        value={option}
        choices={choicesOrNone(options, t)}
        onChange={(chosen) =>
          change({ [name]: { option: options.find((option) => option === chosen) ?? "", values: "" } })
        }
      />
      {option !== "" && (
        <TextField
          label={t("axisValues", title)}
          hint={t("axisHint", separatorOf(option))}
          value={axis.values}
          onChange={(values) => change({ [name]: { option, values } })}
        />
      )}
    </div>
  );
}
