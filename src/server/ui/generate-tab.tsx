import { useState } from "preact/hooks";
import { upscalers } from "./catalog.js";
import { Check, NumberField, Select, Slider } from "./fields.js";
import { currentJob, submitJob } from "./jobs.js";
import { MaskEditor } from "./mask-editor.js";
import { OutpaintFrame } from "./outpaint-frame.js";
import { PictureInput, PicturePreview } from "./picture-input.js";
import { ResultPanel } from "./result-panel.js";
import { type Mode, requestOf, type Settings, settings, sources } from "./settings.js";
import { ModelSelect, Prompts, SettingsForm, useModel } from "./settings-form.js";
import { useStore, useWords } from "./store.js";

const change = (changes: Partial<Settings>) => settings.update(changes);

/** The form of one way to make pictures, and beside it what comes out. */
export function GenerateTab({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const form = useStore(settings);
  const source = useStore(sources);
  const { sending } = useStore(currentJob);
  const model = useModel(mode);
  const [missing, setMissing] = useState("");
  const takesPicture = mode !== "text" && mode !== "unconditional";
  const submit = () => {
    const problem =
      takesPicture && !source.image
        ? t("needPicture")
        : mode === "inpaint" && !source.mask
          ? t("needMask")
          : mode === "outpaint" && form.left + form.right + form.top + form.bottom === 0
            ? t("needMargins")
            : "";
    setMissing(problem);
    if (problem) return;
    const body = requestOf(mode, form, source, model?.label ?? "");
    void submitJob(body, takesPicture ? source.image : "", t("connectionLost"));
  };
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
            {mode !== "unconditional" && <Prompts mode={mode} onSubmit={submit} />}
            <ModelSelect mode={mode} />
            {(mode === "image" || mode === "inpaint") && (
              <Slider
                label={t("strength")}
                value={form.strength}
                min={0.05}
                max={1}
                step={0.05}
                onChange={(strength) => change({ strength })}
              />
            )}
            {mode === "inpaint" && <MaskSettings />}
            <SettingsForm mode={mode} />
          </>
        )}
        <div class="actions">
          <button type="submit" class="primary" disabled={sending}>
            {t(mode === "upscale" ? "upscaleNow" : "generate")}
          </button>
          {missing && <p role="alert">{missing}</p>}
        </div>
      </form>
      <ResultPanel />
    </div>
  );
}

function MaskSettings() {
  const t = useWords();
  const form = useStore(settings);
  return (
    <div class="grid">
      <NumberField
        label={t("maskBlur")}
        value={form.maskBlur}
        min={0}
        max={64}
        step={1}
        onChange={(maskBlur) => change({ maskBlur })}
      />
      <Select
        label={t("maskedContent")}
        value={form.maskedContent}
        choices={(["original", "fill", "noise", "nothing"] as const).map((value) => ({
          value,
          label: t(value),
        }))}
        onChange={(value) => change({ maskedContent: value as Settings["maskedContent"] })}
      />
      <Check
        label={t("onlyMasked")}
        value={form.onlyMasked}
        onChange={(onlyMasked) => change({ onlyMasked })}
      />
      {form.onlyMasked && (
        <NumberField
          label={t("padding")}
          value={form.padding}
          min={0}
          max={256}
          step={4}
          onChange={(padding) => change({ padding })}
        />
      )}
    </div>
  );
}

function UpscaleSettings() {
  const t = useWords();
  const form = useStore(settings);
  const names = useStore(upscalers);
  return (
    <>
      <Select
        label={t("upscaler")}
        value={form.upscaler}
        choices={names.map((name) => ({ value: name, label: name }))}
        onChange={(upscaler) => change({ upscaler })}
      />
      <Slider
        label={t("scale")}
        value={form.scale}
        min={1}
        max={4}
        step={0.5}
        onChange={(scale) => change({ scale })}
      />
    </>
  );
}
