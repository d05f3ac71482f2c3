import { controls } from "./catalog.js";
import { choicesOrNone, Select } from "./fields/fields.js";
import { FileButton } from "./fields/file-button.js";
import { readPicture, useFileProblem } from "./fields/picture-file.js";
import { SettingNumber, SettingSlider } from "./fields/setting-fields.js";
import { note } from "./navigation.js";
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
  const inWords = useFileProblem();
  const take = (file: File) => {
    readPicture(file).then(
      ({ image }) => controlPicture.set(image),
      (error: unknown) => note.set(inWords(error)),
    );
  };
  if (list.controls.length === 0) return null;
  return (
    <details open={control !== ""}>
      <summary>ControlNet</summary>
      <div class="fields">
        <Select
          label={t("controlModel")}
          value={control}
          choices={choicesOrNone(list.controls)}
          onChange={(control) => change({ control })}
        />
        {control !== "" && (
          <>
            <div class="row">
              <FileButton label={t("controlPicture")} onFile={(file) => take(file)} />
              {picture && <img class="control-picture" src={picture} alt={t("controlPicture")} />}
            </div>
            <SettingSlider name="controlScale" min={0} max={2} step={0.05} />
            <div class="grid">
              <Select
                label={t("preprocess")}
                value={controlPreprocess}
                choices={choicesOrNone(list.preprocessors)}
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
