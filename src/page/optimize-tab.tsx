import { useState } from "preact/hooks";
import { models, refreshModels } from "./catalog.js";
import { Radios, Select, TextField } from "./fields/fields.js";
import { problemOf } from "./jobs.js";
import { HubCard } from "./models/hub-card.js";
import { partName } from "./progress-words.js";
import { ask } from "./server.js";
import { useStore, useWords } from "./store.js";

/** Downloads a model if need be, converts it to a precision, tries it, and puts it on the list. */
export function OptimizeTab() {
  const t = useWords();
  const { models: entries, precisions, preparation } = useStore(models);
  const [listed, setListed] = useState<string>();
  const [path, setPath] = useState("");
  const [token, setToken] = useState("");
  const [precision, setPrecision] = useState("fp16");
  const [problem, setProblem] = useState("");
  const names = [...new Set(entries.map(({ name }) => name))];
  const chosen = listed ?? names[0] ?? "";
  const busy = preparation?.status === "running";
  const start = async () => {
    try {
      const model = chosen === "" ? path : chosen;
      await ask("POST /models/prepare", { body: { model, precision, ...(token && { token }) } });
      setToken("");
      setProblem("");
      await refreshModels();
    } catch (error) {
      setProblem(problemOf(error, t("connectionLost")));
    }
  };
  const phase = busy ? preparation.phase : undefined;
  return (
    <div class="columns">
      <form
        class="panel"
        noValidate // the server says it in words
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <div class="form-body">
          <p class="hint">{t("optimizeHelp")}</p>
          <Select
            label={t("modelSource")}
            value={chosen}
            choices={[
              ...names.map((name) => ({ value: name, label: name })),
              { value: "", label: t("otherModel") },
            ]}
            onChange={setListed}
          />
          {chosen === "" && (
            <>
              <TextField label={t("modelPath")} value={path} onChange={setPath} />
              <HubCard name={path} />
              <TextField
                label={t("token")}
                hint={t("tokenHint")}
                type="password"
                value={token}
                onChange={setToken}
              />
              <p class="hint">{t("gatedHelp")}</p>
            </>
          )}
          <Radios
            label={t("device")}
            value={precision}
            choices={precisions.map(({ id, label, available }) => ({
              value: id,
              label: available ? label : `${label} (${t("notHere")})`,
              disabled: !available,
            }))}
            onChange={setPrecision}
          />
          <p class="hint">{t("precisionHelp")}</p>
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || (chosen === "" && path.trim() === "")}>
            {t("optimizeNow")}
          </button>
          {problem && <p role="alert">{problem}</p>}
        </div>
      </form>
      <section class="panel result" aria-label={t("log")}>
        <h2>{t("log")}</h2>
        {!preparation && <p class="hint">{t("logEmpty")}</p>}
        <div role="log" aria-label={t("log")}>
          <ol class="log">
            {preparation?.log.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ol>
        </div>
        {busy && (
          <div class="progress">
            <p class="hint">{phase && partName(t, phase.what)}</p>
            <progress
              aria-label={t("progress")}
              {...(phase && phase.total > 0 && { max: phase.total, value: phase.done })}
            />
            <button
              type="button"
              onClick={() => void ask("DELETE /models/prepare/:id", { at: preparation.id })}
            >
              {t("cancel")}
            </button>
          </div>
        )}
        {preparation?.status === "failed" && <p role="alert">{preparation.log.at(-1)}</p>}
      </section>
    </div>
  );
}
