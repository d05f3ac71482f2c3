import { Infinity as InfinityIcon } from "lucide-preact";
import { useState } from "preact/hooks";
import { maskedContents } from "../options/choices.js";
import { axisOptions, type Grid, gridOf } from "./axes.js";
import { upscalers } from "./catalog.js";
import { useControl } from "./control-settings.js";
import { Check, Select } from "./fields/fields.js";
import { ImageSize } from "./fields/image-size.js";
import { MaskEditor } from "./fields/mask-editor.js";
import { OutpaintFrame } from "./fields/outpaint-frame.js";
import { PictureInput, PicturePreview } from "./fields/picture-input.js";
import { SettingNumber, SettingSlider } from "./fields/setting-fields.js";
import { currentJob, submitJob } from "./jobs.js";
import { LoraPicker } from "./pickers/lora-picker.js";
import { styled } from "./prompt-styles/prompt-styles.js";
import { StylesPicker } from "./prompt-styles/styles-picker.js";
import { usesWildcards } from "./prompt-styles/wildcards.js";
import { useEndless } from "./queue/endless.js";
import { ResultPanel } from "./result-panel.js";
import {
  controlPicture,
  type Mode,
  requestOf,
  type Settings,
  type Sources,
  settings,
  sources,
} from "./settings.js";
import { ModelSelect, Prompts, SettingsForm, useModel } from "./settings-form.js";
import { useStore, useWords } from "./store.js";
import type { Word } from "./words.js";

const change = (changes: Partial<Settings>) => settings.update(changes);

/** The form of one way to make pictures, and beside it what comes out. */
export function GenerateTab({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const form = useStore(settings);
  const source = useStore(sources);
  const { sending } = useStore(currentJob);
  const model = useModel(mode);
  const control = useControl();
  const picture = useStore(controlPicture);
  const [missing, setMissing] = useState("");
  const hasPrompt = mode !== "upscale" && mode !== "unconditional";
  const takesPicture = mode !== "text" && mode !== "unconditional";
  const submit = () => {
    const controlled = control !== "" && mode !== "upscale" && mode !== "unconditional";
    const word = controlled && !picture ? "needControl" : missingFor(mode, form, source);
    const problem = word ? t(word) : "";
    setMissing(problem);
    if (problem) return;
    const sent = hasPrompt ? styled(form) : form;
    const body = {
      ...requestOf(mode, sent, source, model?.label ?? "", control && picture),
      ...(hasPrompt && usesWildcards(sent) && { wildcards: true }),
    };
    void submitJob(body, takesPicture ? source.image : "", t("connectionLost"));
  };
  const [endless, setEndless] = useEndless(submit);
  return (
    <div class="columns">
      <form
        class="panel"
        noValidate // the server says it in words
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {takesPicture && <PictureInput />}
        {mode === "inpaint" && <MaskEditor />}
        {mode === "outpaint" && <OutpaintFrame />}
        {(mode === "image" || mode === "upscale") && <PicturePreview />}
        {mode === "upscale" ? (
          <UpscaleSettings />
        ) : (
          <>
            {hasPrompt && (
              <>
                <Prompts mode={mode} onSubmit={submit} />
                {foreignScript.test(form.prompt) && <p class="hint">{t("scriptNote")}</p>}
                <StylesPicker />
                <LoraPicker />
              </>
            )}
            <ModelSelect mode={mode} />
            {(mode === "image" || mode === "inpaint") && (
              <>
                <ImageSize mode={mode} />
                <SettingSlider name="strength" min={0.05} max={1} step={0.05} />
              </>
            )}
            {mode === "inpaint" && <MaskSettings />}
            <SettingsForm mode={mode} />
          </>
        )}
        <div class="actions">
          <div class="submit">
            <button type="submit" class="primary" disabled={sending}>
              {t(mode === "upscale" ? "upscaleNow" : "generate")}
            </button>
            <button
              type="button"
              class="icon"
              aria-pressed={endless}
              aria-label={t("endless")}
              title={t("endless")}
              onClick={() => setEndless(!endless)}
            >
              <InfinityIcon />
            </button>
          </div>
          {missing && <p role="alert">{missing}</p>}
        </div>
      </form>
      <ResultPanel />
    </div>
  );
}

/** What has to be done before the form can be sent. */
function missingFor(mode: Mode, form: Settings, { image, mask }: Sources): Word | undefined {
  if (mode !== "text" && mode !== "unconditional" && !image) return "needPicture";
  if (mode === "inpaint" && !mask) return "needMask";
  if (mode !== "upscale" && !hasValues(gridOf(form, axisOptions(mode)))) return "needValues";
  const margins = form.left + form.right + form.top + form.bottom;
  return mode === "outpaint" && margins === 0 ? "needMargins" : undefined;
}

const hasValues = (grid: Grid | undefined): boolean =>
  [grid?.x, grid?.y].every((axis) => !axis || axis.values.length > 0);

function MaskSettings() {
  const t = useWords();
  const form = useStore(settings);
  return (
    <div class="grid">
      <SettingNumber name="maskBlur" min={0} max={64} step={1} />
      <Select
        label={t("maskedContent")}
        value={form.maskedContent}
        choices={maskedContents.map((value) => ({ value, label: t(value) }))}
        onChange={(value) => change({ maskedContent: value as Settings["maskedContent"] })}
      />
      <Check label={t("softMask")} value={form.softMask} onChange={(softMask) => change({ softMask })} />
      <Check
        label={t("onlyMasked")}
        value={form.onlyMasked}
        onChange={(onlyMasked) => change({ onlyMasked })}
      />
      {form.onlyMasked && <SettingNumber name="padding" min={0} max={256} step={4} />}
    </div>
  );
}

function UpscaleSettings() {
  const t = useWords();
  const form = useStore(settings);
  // Networks first: resampling is the last resort.
  const names = [...useStore(upscalers)].sort((a, b) => Number(isResampler(a)) - Number(isResampler(b)));
  return (
    <>
      <Select
        label={t("upscaler")}
        value={form.upscaler}
        choices={names.map((name) => ({ value: name, label: name }))}
        onChange={(upscaler) => change({ upscaler })}
      />
      <SettingSlider name="scale" min={1} max={4} step={0.5} />
    </>
  );
}

const isResampler = (name: string): boolean => name === "Lanczos" || name === "Nearest";

/** Letters that English is not written in. */
const foreignScript = /(?!\p{Script=Latin})\p{L}/u;
