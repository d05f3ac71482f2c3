import { useEffect, useState } from "preact/hooks";
import { models, refreshModels } from "../catalog.js";
import { problemOf } from "../jobs.js";
import { phaseInWords } from "../progress-words.js";
import { ask, type ModelView } from "../server.js";
import { type Translate, useStore, useWords } from "../store.js";
import { FirstRun } from "./first-run.js";

/** The models on the list: what they are, whether they are in memory, which one is the default. */
export function ModelsTab() {
  const t = useWords();
  const { models: entries, unusable } = useStore(models);
  const [problem, setProblem] = useState("");
  const act = async (change: () => Promise<unknown>) => {
    try {
      await change();
      await refreshModels();
      setProblem("");
    } catch (error) {
      setProblem(problemOf(error, t("connectionLost")));
    }
  };
  // Models are loaded and dropped as jobs need them.
  useEffect(() => void refreshModels().catch(() => {}), []);
  return (
    <section class="panel" aria-label={t("models")}>
      <h2>{t("models")}</h2>
      <FirstRun />
      {problem && <p role="alert">{problem}</p>}
      <ul class="models">
        {entries.map((entry) => (
          <li key={entry.label}>
            <div>
              <strong>{entry.label}</strong> {entry.current && <span class="badge">{t("isDefault")}</span>}
              <small class="hint">
                {t(kindWords[entry.kind])} · {entry.size} × {entry.size} · {stateOf(t, entry)}
              </small>
              {entry.state.error && <p role="alert">{entry.state.error.message}</p>}
            </div>
            <div class="row">
              {entry.kind === "text" && !entry.current && (
                <button
                  type="button"
                  aria-label={`${t("use")}: ${entry.label}`}
                  onClick={() =>
                    void act(() => ask("POST /models/current", { body: { model: entry.label } }))
                  }
                >
                  {t("use")}
                </button>
              )}
              {entry.origin === "prepared" && (
                <button
                  type="button"
                  class="danger"
                  aria-label={`${t("forget")}: ${entry.label}`}
                  onClick={() => void act(() => ask("DELETE /models/:label", { at: entry.label }))}
                >
                  {t("forget")}
                </button>
              )}
            </div>
          </li>
        ))}
      </ul>
      {unusable.length > 0 && (
        <>
          <h3>{t("unusable")}</h3>
          <ul>
            {unusable.map(({ name, problem }) => (
              <li key={name}>
                <strong>{name}</strong>: {problem}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

const kindWords = {
  text: "kindText",
  inpainting: "kindInpainting",
  instruct: "kindInstruct",
  upscaling: "kindUpscaling",
  unconditional: "kindUnconditional",
} as const;

function stateOf(t: Translate, { state }: ModelView): string {
  const word = { idle: "idle", loading: "loadingState", ready: "ready", failed: "failed" } as const;
  return t(word[state.status]) + phaseInWords(t, state.phase);
}
