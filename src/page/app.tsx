import { ImageUp, Languages, SunMoon } from "lucide-preact";
import { useEffect } from "preact/hooks";
import { catalogState, models, watchModels } from "./catalog.js";
import { connection, watchConnection } from "./connection.js";
import { FileButton, pictureTypes } from "./fields/file-button.js";
import { fileIn, useFileProblem, WrongFile } from "./fields/picture-file.js";
import { GenerateTab } from "./generate-tab.js";
import { HistoryTab } from "./history/history-tab.js";
import { currentJob, isActive } from "./jobs.js";
import { HeaderTools } from "./keys/header-tools.js";
import { ModelsTab } from "./models/models-tab.js";
import { go, note, openTab } from "./navigation.js";
import { OptimizeTab } from "./optimize-tab.js";
import { phaseInWords } from "./progress-words.js";
import { restorePicture } from "./restored-picture.js";
import { type Look, look, useStore, useWords } from "./store.js";
import { type Tab, tabs } from "./tabs.js";
import { Overlays } from "./viewer/overlays.js";

export function App() {
  const t = useWords();
  const tab = useStore(openTab);
  const { language, theme } = useStore(look);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.documentElement.dataset.theme = theme;
  }, [language, theme]);
  useEffect(watchModels, []);
  useEffect(watchConnection, []);
  const inWords = useFileProblem();
  const restore = (file: File | undefined) => {
    if (!file) return;
    const restored = pictureTypes.some((type) => type === file.type)
      ? restorePicture(file)
      : Promise.reject(new WrongFile(file.name, "wrongFile"));
    restored.then(
      ({ mode, word, model, leftOut }) => {
        const told = t(word, model) + (leftOut.length > 0 ? ` ${t("leftOut", leftOut.join(", "))}` : "");
        return mode ? go(mode, told) : note.set(told);
      },
      (error: unknown) => note.set(inWords(error)),
    );
  };
  // A picture that is dropped anywhere but on the field for pictures brings its settings.
  useEffect(() => {
    const allow = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      restore(fileIn(event.dataTransfer));
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
      <header>
        <button type="button" class="skip" onClick={() => document.getElementById("panel")?.focus()}>
          {t("skipToContent")}
        </button>
        <h1>tfjs-diffusion</h1>
        <LoadingState />
        <FileButton quiet icon={ImageUp} label={t("restorePng")} title={t("dropRestore")} onFile={restore} />
        <LookSwitches />
        <HeaderTools />
      </header>
      <nav aria-label={t("tabs")}>
        <TabList tab={tab} />
      </nav>
      <main>
        <Messages />
        <div id="panel" role="tabpanel" tabIndex={-1} aria-labelledby={`tab-${tab}`}>
          {tab === "optimize" ? (
            <OptimizeTab />
          ) : tab === "models" ? (
            <ModelsTab />
          ) : tab === "history" ? (
            <HistoryTab />
          ) : (
            <GenerateTab key={tab} mode={tab} />
          )}
        </div>
      </main>
      <Overlays />
    </div>
  );
}

/** What the page has to say above the tab: of itself, and of the server. */
function Messages() {
  const t = useWords();
  const said = useStore(note);
  const gone = useStore(connection) === "gone";
  const { state, problem } = useStore(catalogState);
  const { job } = useStore(currentJob);
  return (
    <>
      {gone && <p role="alert">{t(job && isActive(job) ? "connectionGone" : "connectionLost")}</p>}
      {!gone && problem && <p role="alert">{problem}</p>}
      {!gone && state === "opening" && (
        <p class="opening" role="status">
          {t("opening")} <progress aria-label={t("opening")} />
        </p>
      )}
      <p role="status" class={said ? "note" : "visually-hidden"}>
        {said}
      </p>
    </>
  );
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
      {phaseInWords(t, phase)}
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
    <div class="row looks">
      <span class="look-switch">
        <SunMoon />
        <select
          aria-label={t("theme")}
          value={theme}
          onChange={(event) => look.update({ theme: event.currentTarget.value as Look["theme"] })}
        >
          <option value="auto">{t("themeAuto")}</option>
          <option value="light">{t("themeLight")}</option>
          <option value="dark">{t("themeDark")}</option>
        </select>
      </span>
      <span class="look-switch">
        <Languages />
        <select
          aria-label={t("language")}
          value={language}
          onChange={(event) => look.update({ language: event.currentTarget.value as Look["language"] })}
        >
          <option value="en">English</option>
          <option value="zh">中文</option>
        </select>
      </span>
    </div>
  );
}

/** One tab stop; arrow keys move between the tabs. */
function TabList({ tab }: { readonly tab: Tab }) {
  const t = useWords();
  // On a narrow screen the list scrolls: the open tab to its middle, so that those on both sides are seen.
  useEffect(() => {
    document.getElementById(`tab-${tab}`)?.scrollIntoView({ block: "nearest", inline: "center" });
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
