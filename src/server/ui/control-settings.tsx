import { useRef } from "preact/hooks";
import { controls } from "./catalog.js";
import { Select } from "./fields.js";
import { readPicture } from "./picture-input.js";
import { SettingNumber, SettingSlider } from "./setting-fields.js";
import { controlPicture, type Settings, settings } from "./settings.js";
import { useStore, useWords } from "./store.js";

const change = (changes: Partial<Settings>) => settings.update(changes);

/** The chosen ControlNet, if the server still has it. */
export function useControl(): string {
  const { control } = useStore(settings);
  return useStore(controls).controls.includes(control) ? control : "";
}

/** A ControlNet and the picture that it follows; nothing where the server has none. */
export function ControlSettings() {
  const t = useWords();
  const list = useStore(controls);
  const { controlPreprocess } = useStore(settings);
  const picture = useStore(controlPicture);
  const control = useControl();
  const input = useRef<HTMLInputElement>(null);
  if (list.controls.length === 0) return null;
  return (
    <details open={control !== ""}>
      <summary>ControlNet</summary>
      <div class="fields">
        <Select
          label={t("controlModel")}
          value={control}
          choices={["", ...list.controls].map((name) => ({ value: name, label: name || "–" }))}
          onChange={(control) => change({ control })}
        />
        {control !== "" && (
          <>
            <div class="row">
              <button type="button" onClick={() => input.current?.click()}>
                {t("controlPicture")}
              </button>
              <input
                ref={input}
                type="file"
                accept="image/png,image/jpeg,image/webp"
                class="visually-hidden"
                tabIndex={-1}
                aria-label={t("controlPicture")}
                onChange={(event) => {
                  const [file] = event.currentTarget.files ?? [];
                  if (file) void readPicture(file).then(({ image }) => controlPicture.set(image));
                  event.currentTarget.value = "";
                }}
              />
              {picture && <img class="control-picture" src={picture} alt={t("controlPicture")} />}
            </div>
            <SettingSlider name="controlScale" min={0} max={2} step={0.05} />
            <div class="grid">
              <Select
                label={t("preprocess")}
                value={controlPreprocess}
                choices={["", ...list.preprocessors].map((name) => ({ value: name, label: name || "–" }))}
                onChange={(controlPreprocess) => change({ controlPreprocess })}
              />
              <SettingNumber name="controlStart" min={0} max={1} step={0.05} />
              <SettingNumber name="controlEnd" min={0} max={1} step={0.05} />
            </div>
          </>
        )}
      </div>
    </details>
  );
}
