import { useEffect } from "preact/hooks";
import { models, schedulers, watchModels } from "./catalog.js";
import { FileButton } from "./fields/file-button.js";
import { pictureIn } from "./fields/picture-input.js";
import { GenerateTab } from "./generate-tab.js";
import { HistoryTab } from "./history/history-tab.js";
import { HeaderTools } from "./keys/header-tools.js";
import { ModelsTab } from "./models/models-tab.js";
import { go, note, openTab } from "./navigation.js";
import { OptimizeTab } from "./optimize-tab.js";
import { chooseNoStyles } from "./prompt-styles/prompt-styles.js";
import { settingsOfFields } from "./restored-settings.js";
import { ask } from "./server.js";
import { modelSetting, settings } from "./settings.js";
import { type Look, look, useStore, useWords } from "./store.js";
import { type Tab, tabs } from "./tabs.js";
import { Overlays } from "./viewer/overlays.js";
import type { Word } from "./words.js";

export function App({ problem }: { readonly problem: string }) {
  const t = useWords();
  const tab = useStore(openTab);
  const { language, theme } = useStore(look);
  const said = useStore(note);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.documentElement.dataset.theme = theme;
  }, [language, theme]);
  useEffect(watchModels, []);
  const restore = (file: File | undefined) => {
    if (file)
      restoreSettings(file).then(
        ([word, model]) => note.set(t(word, model)),
        (error: Error) => note.set(error.message),
      );
  };
  // A picture that is dropped anywhere but on the field for pictures brings its settings.
  useEffect(() => {
    const allow = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      restore(pictureIn(event.dataTransfer));
    };
    document.addEventListener("dragover", allow);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("dragover", allow);
      document.removeEventListener("drop", drop);
    };
  });
  return (
    <div class="app">
      <button type="button" class="skip" onClick={() => document.getElementById("panel")?.focus()}>
        {t("skipToContent")}
      </button>
      <header>
        <h1>tfjs-diffusion</h1>
        <LoadingState />
        <FileButton
          quiet
          label={t("restorePng")}
          title={t("dropRestore")}
          types={["image/png"]}
          onFile={restore}
        />
        <LookSwitches />
        <HeaderTools />
      </header>
      <TabList tab={tab} />
      <main id="panel" role="tabpanel" tabIndex={-1} aria-labelledby={`tab-${tab}`}>
        {problem && <p role="alert">{problem}</p>}
        <p role="status" class={said ? "note" : "visually-hidden"}>
          {said}
        </p>
        {tab === "optimize" ? (
          <OptimizeTab />
        ) : tab === "models" ? (
          <ModelsTab />
        ) : tab === "history" ? (
          <HistoryTab />
        ) : (
          <GenerateTab key={tab} mode={tab} />
        )}
      </main>
      <Overlays />
    </div>
  );
}

/** @returns what to say about it, and the model that is meant */
async function restoreSettings(file: File): Promise<[Word, string]> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const { parameters } = await ask("POST /sdapi/v1/png-info", { body: { image: btoa(text) } });
  if (Object.keys(parameters).length === 0) return ["noParameters", ""];
  chooseNoStyles();
  settings.update(settingsOfFields(parameters, schedulers.get()));
  const { Model = "", Precision = "FP32" } = parameters;
  const entries = models.get().models.filter(({ name }) => name === Model);
  const entry = entries.find(({ label }) => label.endsWith(` ${Precision}`)) ?? entries[0];
  if (entry) settings.update(modelSetting(entry));
  return [Model && !entry ? "modelMissing" : "restored", Model];
}

/** While a model is being loaded: which one, and how far. */
function LoadingState() {
  const t = useWords();
  const loading = useStore(models).models.find(({ state }) => state.status === "loading");
  if (!loading) return <span class="grow" />;
  const { phase } = loading.state;
  return (
    <span class="grow loading" role="status">
      {t("loading")}: {loading.label}
      {phase && phase.what !== "all" && ` (${phase.what})`}
      <progress
        aria-label={t("loading")}
        {...(phase && phase.total > 1 && { max: phase.total, value: phase.done })}
      />
    </span>
  );
}

function LookSwitches() {
  const t = useWords();
  const { language, theme } = useStore(look);
  return (
    <div class="row">
      <select
        aria-label={t("theme")}
        value={theme}
        onChange={(event) => look.update({ theme: event.currentTarget.value as Look["theme"] })}
      >
        <option value="auto">{t("themeAuto")}</option>
        <option value="light">{t("themeLight")}</option>
        <option value="dark">{t("themeDark")}</option>
      </select>
      <select
        aria-label={t("language")}
        value={language}
        onChange={(event) => look.update({ language: event.currentTarget.value as Look["language"] })}
      >
        <option value="en">English</option>
        <option value="zh">中文</option>
      </select>
    </div>
  );
}

/** One tab stop; arrow keys move between the tabs. */
function TabList({ tab }: { readonly tab: Tab }) {
  const t = useWords();
  // On a narrow screen the list scrolls.
  useEffect(() => {
    document.getElementById(`tab-${tab}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [tab]);
  const onKeyDown = (event: KeyboardEvent) => {
    // Counted from the tab that has the focus: one that was clicked a moment ago may not be open yet.
    const at = tabs.findIndex((name) => `tab-${name}` === (event.target as Element).id);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length]!;
    go(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={t("tabs")} onKeyDown={onKeyDown}>
      {tabs.map((name) => (
        <button
          key={name}
          id={`tab-${name}`}
          type="button"
          role="tab"
          aria-selected={name === tab}
          aria-controls="panel"
          tabIndex={name === tab ? 0 : -1}
          onClick={() => go(name)}
        >
          {t(name)}
        </button>
      ))}
    </div>
  );
}
