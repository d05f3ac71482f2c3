import { Infinity as InfinityIcon } from "lucide-preact";
import { useRef, useState } from "preact/hooks";
import { maskedContents } from "../options/choices.js";
import { axisOptions, type Grid, gridOf } from "./axes.js";
import { upscalers } from "./catalog.js";
import { Check, Select } from "./fields/fields.js";
import { ImageSize } from "./fields/image-size.js";
import { MaskEditor } from "./fields/mask-editor.js";
import { OutpaintFrame } from "./fields/outpaint-frame.js";
import { resizedPicture } from "./fields/picture-file.js";
import { PictureInput, PicturePreview } from "./fields/picture-input.js";
import { isSeed } from "./fields/seeds.js";
import { SettingNumber, SettingSlider } from "./fields/setting-fields.js";
import { followedPictures } from "./followed/units.js";
import { currentJob, submitJob } from "./jobs.js";
import { LoraPicker } from "./pickers/lora-picker.js";
import { WordPicker } from "./pickers/word-picker.js";
import { styled } from "./prompt-styles/prompt-styles.js";
import { StylesPicker } from "./prompt-styles/styles-picker.js";
import { usesWildcards } from "./prompt-styles/wildcards.js";
import { useEndless } from "./queue/endless.js";
import { requestOf, type Sent } from "./request.js";
import { ResultPanel } from "./result-panel.js";
import {
  broughtTo,
  isCloseUp,
  type Mode,
  type Settings,
  type Sources,
  settings,
  sources,
  usualStrength,
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
  const followed = useStore(followedPictures);
  const [tried, setTried] = useState(false);
  const hasPrompt = mode !== "upscale" && mode !== "unconditional";
  const takesPicture = mode !== "text" && mode !== "unconditional";
  const blind = hasPrompt && [...form.control, ...form.ipAdapter].some(({ id }) => !followed[id]?.length);
  const missing = blind ? "needControl" : missingFor(mode, form, source);
  const submit = () => {
    setTried(true);
    if (missing) return;
    const sent = hasPrompt ? styled(form) : form;
    const wildcards = hasPrompt && usesWildcards(sent);
    void submitJob(() => bodyOf(mode, sent, source, { model, followed, wildcards }), t("connectionLost"));
  };
  const [endless, setEndless] = useEndless(submit);
  const place = useRef<HTMLFormElement>(null);
  return (
    <div class="columns">
      <form
        ref={place}
        class="panel"
        data-mode={mode}
        noValidate // the server says it in words
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <div class="form-body">
          {takesPicture && <PictureInput mode={mode} />}
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
                  <WordPicker />
                </>
              )}
              <ModelSelect mode={mode} />
              {(mode === "image" || mode === "inpaint") && <ImageSize mode={mode} />}
              {takesPicture && (
                <SettingSlider
                  name="strength"
                  min={0.05}
                  max={1}
                  step={0.05}
                  otherwise={usualStrength(mode, model)}
                />
              )}
              {mode === "inpaint" && <MaskSettings />}
              <SettingsForm mode={mode} />
            </>
          )}
        </div>
        <div class="actions">
          <div class="submit">
            <button type="submit" class="primary" disabled={sending}>
              {t(mode === "upscale" ? "upscaleNow" : "generate")}
            </button>
            {mode !== "upscale" && ( // of which each time the same would come out
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
            )}
          </div>
          {tried && missing && <p role="alert">{t(missing)}</p>}
        </div>
      </form>
      <ResultPanel
        {...(mode === "text" && {
          onExample: (prompt: string) => {
            change({ prompt });
            // When the form has it.
            setTimeout(() => place.current?.requestSubmit());
          },
        })}
      />
    </div>
  );
}

/** What is sent: outpainting grows a picture that has been brought to the model's size before. */
async function bodyOf(
  mode: Mode,
  form: Settings,
  source: Sources,
  { wildcards, ...others }: Sent & { readonly wildcards: boolean },
): Promise<object> {
  const brought = mode === "outpaint" ? broughtTo(source, others.model) : undefined;
  const image = brought ? await resizedPicture(source.image, brought) : source.image;
  return { ...requestOf(mode, form, { ...source, image }, others), ...(wildcards && { wildcards }) };
}

/** What has to be done before the form can be sent. */
function missingFor(mode: Mode, form: Settings, { image, mask }: Sources): Word | undefined {
  if (mode !== "text" && mode !== "unconditional" && !image) return "needPicture";
  if (mode === "inpaint" && !mask) return "needMask";
  if (mode !== "upscale" && !hasValues(gridOf(form, axisOptions(mode)))) return "needValues";
  if (mode !== "upscale" && !isSeed(form.seed)) return "seedInvalid";
  if (form.variationStrength > 0 && !isSeed(form.variationSeed)) return "seedInvalid";
  const margins = form.left + form.right + form.top + form.bottom;
  return mode === "outpaint" && margins === 0 ? "needMargins" : undefined;
}

const hasValues = (grid: Grid | undefined): boolean =>
  [grid?.x, grid?.y].every((axis) => !axis || axis.values.length > 0);

function MaskSettings() {
  const t = useWords();
  const form = useStore(settings);
  const source = useStore(sources);
  const closeUp = isCloseUp(form, source, useModel("inpaint"));
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
        value={closeUp}
        onChange={(onlyMasked) => {
          change({ onlyMasked });
          if (!onlyMasked) sources.update({ ownSize: true });
        }}
      />
      {closeUp && <SettingNumber name="padding" min={0} max={256} step={4} />}
    </div>
  );
}

function UpscaleSettings() {
  const t = useWords();
  const form = useStore(settings);
  const { width, height } = useStore(sources);
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
      {width > 0 && (
        <small class="hint">
          {Math.round(width * form.scale)} × {Math.round(height * form.scale)}
        </small>
      )}
    </>
  );
}

const isResampler = (name: string): boolean => name === "Lanczos" || name === "Nearest";

/** Letters that English is not written in, and emoji. */
const foreignScript = /(?!\p{Script=Latin})\p{L}|\p{Emoji_Presentation}/u;
