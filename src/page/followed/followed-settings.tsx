import { controls, ipAdapters } from "../catalog.js";
import { Check, choicesOrNone, NumberField, Select, Slider } from "../fields/fields.js";
import { FileButton } from "../fields/file-button.js";
import { readPicture, useFileProblem } from "../fields/picture-file.js";
import { note } from "../navigation.js";
import { Cards } from "../pickers/cards.js";
import { settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import {
  type Followed,
  followedPictures,
  maskOf,
  mostUnits,
  newUnit,
  type Unit,
  type UnitKind,
} from "./units.js";

/** What follows pictures; nothing where the server has neither ControlNets nor IP-Adapters. */
export function FollowedSettings() {
  return (
    <>
      <Units kind="control" />
      <Units kind="ipAdapter" />
    </>
  );
}

const titles = { control: "ControlNet", ipAdapter: "IP-Adapter" } as const;

function Units({ kind }: { readonly kind: UnitKind }) {
  const t = useWords();
  const all = { control: useStore(controls).controls, ipAdapter: useStore(ipAdapters) }[kind];
  const units = useStore(settings)[kind];
  if (all.length === 0 && units.length === 0) return null;
  return (
    <details open={units.length > 0}>
      <summary>
        {titles[kind]} <span class="hint">{t(kind === "control" ? "controlHint" : "ipAdapterHint")}</span>
      </summary>
      <div class="fields">
        {units.map((unit, i) => (
          <UnitFields key={unit.id} kind={kind} unit={unit} title={`${titles[kind]} ${i + 1}`} />
        ))}
        {units.length < mostUnits && (
          <section aria-label={t("addUnit", titles[kind])}>
            <p class="hint">{t("addUnit", titles[kind])}</p>
            <Cards all={all} onPress={(name) => settings.update({ [kind]: [...units, newUnit(name)] })} />
          </section>
        )}
      </div>
    </details>
  );
}

function UnitFields({
  kind,
  unit,
  title,
}: {
  readonly kind: UnitKind;
  readonly unit: Unit;
  readonly title: string;
}) {
  const t = useWords();
  const known = { control: useStore(controls).controls, ipAdapter: useStore(ipAdapters) }[kind];
  const { preprocessors } = useStore(controls);
  const followed = useStore(followedPictures);
  const pictures = followed[unit.id] ?? [];
  const [mask] = followed[maskOf(unit.id)] ?? [];
  // Nothing but its name tells such a ControlNet.
  const takesMask = kind === "control" && (mask !== undefined || /inpaint/i.test(unit.model));
  const inWords = useFileProblem();
  const change = (changes: Partial<Unit>) =>
    settings.update({
      [kind]: settings.get()[kind].map((one) => (one.id === unit.id ? { ...one, ...changes } : one)),
    });
  const taking = (keep: (image: string) => void) => (file: File) => {
    readPicture(file).then(
      ({ image }) => keep(image),
      (error: unknown) => note.set(inWords(error)),
    );
  };
  const take = taking((image) =>
    followedPictures.update({ [unit.id]: kind === "control" ? [image] : [...pictures, image] }),
  );
  const takeMask = taking((image) => followedPictures.update({ [maskOf(unit.id)]: [image] }));
  // What a picture names and this server lacks is shown as well: the server says what there is.
  const names = [...new Set([unit.model, ...known.map(({ name }) => name)])].sort();
  const steps = [...new Set([...preprocessors, unit.preprocess])].filter(Boolean);
  return (
    <fieldset class="unit">
      <legend>{title}</legend>
      <Select
        label={t(kind === "control" ? "controlModel" : "ipAdapterModel")}
        value={unit.model}
        choices={names.map((name) => ({ value: name, label: name }))}
        onChange={(model) => change({ model })}
      />
      <div class="row">
        <FileButton label={t("controlPicture")} onFile={take} />
        {pictures.map((picture, i) => (
          <button
            key={picture}
            type="button"
            class="followed"
            title={t("removePicture")}
            onClick={() => followedPictures.update({ [unit.id]: pictures.filter((_, at) => at !== i) })}
          >
            <img src={picture} alt={t("controlPicture")} />
          </button>
        ))}
        <button type="button" class="quiet" onClick={() => removeUnit(kind, unit)}>
          {t("removeUnit", title)}
        </button>
      </div>
      {takesMask && (
        <div class="row">
          <FileButton label={t("controlMask")} onFile={takeMask} />
          {mask && (
            <button
              type="button"
              class="followed"
              title={t("removePicture")}
              onClick={() => followedPictures.set(without(followedPictures.get(), maskOf(unit.id)))}
            >
              <img src={mask} alt={t("controlMask")} />
            </button>
          )}
        </div>
      )}
      <Slider
        label={t("controlScale")}
        {...{ value: unit.scale, min: 0, max: 2, step: 0.05 }}
        onChange={(scale) => change({ scale })}
      />
      <div class="grid">
        {kind === "control" && (
          <Select
            label={t("preprocess")}
            value={unit.preprocess}
            choices={choicesOrNone(steps)}
            onChange={(preprocess) => change({ preprocess })}
          />
        )}
        <NumberField
          label={t("controlStart")}
          {...{ value: unit.start, min: 0, max: 1, step: 0.05 }}
          onChange={(start) => change({ start })}
        />
        <NumberField
          label={t("controlEnd")}
          {...{ value: unit.end, min: 0, max: 1, step: 0.05 }}
          onChange={(end) => change({ end })}
        />
      </div>
      {kind === "control" && (
        <Check label={t("guess")} value={unit.guess} onChange={(guess) => change({ guess })} />
      )}
    </fieldset>
  );
}

function removeUnit(kind: UnitKind, { id }: Unit): void {
  settings.update({ [kind]: settings.get()[kind].filter((unit) => unit.id !== id) });
  followedPictures.set(without(followedPictures.get(), id, maskOf(id)));
}

const without = (followed: Followed, ...ids: readonly string[]): Followed =>
  Object.fromEntries(Object.entries(followed).filter(([id]) => !ids.includes(id)));
