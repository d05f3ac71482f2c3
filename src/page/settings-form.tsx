import { useEffect, useState } from "preact/hooks";
import { rngNames } from "../options/choices.js";
import { axisOptions, furtherNames, furtherNumbers, gridOf } from "./axes.js";
import { modelFor, models, schedulers } from "./catalog.js";
import { choicesOrNone, Select, TextArea } from "./fields/fields.js";
import { SeedField } from "./fields/seed-field.js";
import { SettingNumber, SettingSlider } from "./fields/setting-fields.js";
import { SizeFields } from "./fields/size-fields.js";
import { FollowedSettings } from "./followed/followed-settings.js";
import {
  GridSettings,
  HiresSettings,
  QualitySettings,
  RefinerSettings,
  VariationSettings,
} from "./further-settings.js";
import { ask, type ModelView, type SchedulerList } from "./server.js";
import { type Mode, type Settings, settings } from "./settings.js";
import { useStore, useWords } from "./store.js";

const kindsOf: Record<Mode, readonly ModelView["kind"][]> = {
  text: ["text"],
  image: ["text", "instruct"],
  inpaint: ["inpainting", "text"],
  outpaint: ["inpainting", "text"],
  upscale: [],
  unconditional: ["unconditional"],
};

const change = (changes: Partial<Settings>) => settings.update(changes);

/** The model of a form, as its list shows it. An inpainting model is preferred where it fits and none was chosen. */
export function useModel(mode: Mode): ModelView | undefined {
  const form = useStore(settings);
  const list = useStore(models);
  const kinds = kindsOf[mode];
  const chosen = mode === "unconditional" ? form.unconditionalModel : form.model;
  const variant = kinds[0] === "inpainting" && inpaintingVariant(list.models, chosen);
  return variant || modelFor(list, chosen, kinds);
}

/** `name-inpaint` beside `name`: the pair that is published together. */
function inpaintingVariant(all: readonly ModelView[], chosen: string): ModelView | undefined {
  const text = all.find(({ label }) => label === chosen) ?? all.find(({ current }) => current);
  if (text?.kind !== "text") return undefined;
  const variants = all.filter(({ name, kind }) => kind === "inpainting" && name === `${text.name}-inpaint`);
  return variants.find(({ precision }) => precision === text.precision) ?? variants[0];
}

/** "Switch option": the models that a form can use. */
export function ModelSelect({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const list = useStore(models);
  const model = useModel(mode);
  const key = mode === "unconditional" ? "unconditionalModel" : "model";
  const fitting = list.models.filter(({ kind }) => kindsOf[mode].includes(kind));
  if (mode === "unconditional" && fitting.length === 0) return <p role="alert">{t("noUnconditional")}</p>;
  return (
    <Select
      label={t("option")}
      value={model?.label ?? ""}
      choices={fitting.map(({ label }) => ({ value: label, label }))}
      onChange={(label) => change({ [key]: label })}
    />
  );
}

/** Prompt and negative prompt, with the count of tokens as the model sees them. */
export function Prompts({ mode, onSubmit }: { readonly mode: Mode; readonly onSubmit: () => void }) {
  const t = useWords();
  const { prompt, negativePrompt } = useStore(settings);
  const model = useModel(mode);
  const label = model?.label;
  const tokens = useTokens(prompt, label);
  const negative = useTokens(negativePrompt, label);
  return (
    <>
      <TextArea
        label={t("prompt")}
        hint={tokens && `${tokens} ${t("tokens")}`}
        rows={3}
        value={prompt}
        placeholder={t("promptExample")}
        onChange={(value) => change({ prompt: value })}
        onSubmit={onSubmit}
      />
      <TextArea
        label={t("negativePrompt")}
        hint={(negativePrompt && negative && `${negative} ${t("tokens")}`) || ""}
        rows={1}
        value={negativePrompt}
        placeholder={model?.usual.negativePrompt ?? ""}
        onChange={(value) => change({ negativePrompt: value })}
        onSubmit={onSubmit}
      />
    </>
  );
}

/** "12 / 75", a moment after the last key. */
function useTokens(text: string, model: string | undefined): string {
  const [count, setCount] = useState("");
  useEffect(() => {
    if (!model) return;
    let current = true;
    const timer = setTimeout(() => {
      ask("POST /tokens", { body: { model, text } }).then(
        ({ tokens, room }) => current && setCount(`${tokens} / ${room}`),
        () => current && setCount(""),
      );
    }, 250);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text, model]);
  return count;
}

/** What draws the numbers: torch has two generators. */
const rngLabels: Readonly<Record<Settings["rng"], string>> = {
  torch: "torch (CPU)",
  philox: "torch (CUDA)",
  seedrandom: "seedrandom",
};

/** What the model draws with where none is chosen: its default, else the scheduler that it was trained for. */
function ownScheduler(model: ModelView | undefined, { schedulers }: SchedulerList): string {
  const { scheduler = { _class_name: model?.scheduler ?? "" } } = model?.usual ?? {};
  if (typeof scheduler === "object")
    return schedulers.find(({ className }) => className === scheduler._class_name)?.label ?? "";
  // A schedule can stand behind the name: dpmpp_2m_sde_karras.
  const fitting = schedulers.filter(({ name }) => `${scheduler}_`.startsWith(`${name}_`));
  const [entry] = fitting.toSorted((a, b) => b.name.length - a.name.length);
  return entry ? `${entry.label}${scheduler.slice(entry.name.length).replaceAll("_", " ")}` : scheduler;
}

/** The settings that all ways to generate share. */
export function SettingsForm({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const form = useStore(settings);
  const model = useModel(mode);
  const list = useStore(schedulers);
  const text = mode !== "unconditional";
  const scheduler = list.schedulers.find(({ name }) => name === form.scheduler);
  const { size = 512, factor = 8, usual } = model ?? {};
  const { steps = 20, guidance = 7.5, width = size, height = size } = usual ?? {};
  return (
    <>
      <SettingSlider name="steps" min={1} max={Math.max(150, steps)} step={1} otherwise={steps} />
      {text && <SettingSlider name="guidance" min={1} max={20} step={0.5} otherwise={guidance} />}
      <div class="grid">
        <Select
          label={t("scheduler")}
          value={form.scheduler}
          choices={[
            { value: "", label: `${ownScheduler(model, list)} (${t("modelsOwn")})` },
            ...list.schedulers.map(({ name, label }) => ({ value: name, label })),
          ]}
          onChange={(name) => change({ scheduler: name, schedule: "" })}
        />
        <Select
          label={t("schedule")}
          value={form.schedule}
          disabled={!scheduler?.takesSchedule}
          choices={choicesOrNone(list.scheduleTypes, (type) => type.replaceAll("_", " "))}
          onChange={(schedule) => change({ schedule })}
        />
      </div>
      {mode === "text" && <SizeFields model={{ size, factor }} usual={{ width, height }} />}
      <div class="grid">
        {/* A grid has one for each pair of values. */}
        {!gridOf(form, axisOptions(mode)) && <SettingNumber name="count" min={1} max={32} step={1} />}
        <SeedField
          label={t("seed")}
          diceLabel={t("seedRandom")}
          value={form.seed}
          onChange={(seed) => change({ seed })}
        />
      </div>
      <details>
        <summary>{t("more")}</summary>
        <div class="fields">
          <VariationSettings />
          {text && <QualitySettings />}
          <RefinerSettings mode={mode} model={model} />
          <div class="grid">
            {text &&
              furtherNames.map((name) => <SettingNumber key={name} name={name} {...furtherNumbers[name]} />)}
            <Select
              label={t("rng")}
              value={form.rng}
              choices={rngNames.map((value) => ({ value, label: rngLabels[value] }))}
              onChange={(rng) => change({ rng: rng as Settings["rng"] })}
            />
          </div>
        </div>
      </details>
      {mode === "text" && <HiresSettings />}
      {text && <FollowedSettings />}
      <GridSettings mode={mode} />
      <ResetSettings />
    </>
  );
}

/** Everything but the prompts as it was at first, in all forms. */
function ResetSettings() {
  const t = useWords();
  const [undo, setUndo] = useState<() => void>();
  return (
    <button
      type="button"
      class="quiet reset"
      onClick={() => {
        undo?.();
        const undone = undo ? undefined : settings.reset(["prompt", "negativePrompt"]);
        setUndo(() => undone);
      }}
    >
      {t(undo ? "undoReset" : "resetSettings")}
    </button>
  );
}
