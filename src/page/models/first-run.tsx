import { Download } from "lucide-preact";
import { useState } from "preact/hooks";
import { models, refreshModels } from "../catalog.js";
import { TextField } from "../fields/fields.js";
import { problemOf } from "../jobs.js";
import { go, note } from "../navigation.js";
import { ask } from "../server.js";
import { useStore, useWords } from "../store.js";
import type { Word } from "../words.js";
import { HubCard } from "./hub-card.js";

interface Suggested {
  readonly name: string;
  readonly what: Word;
  /** Of what is downloaded, and of what a picture at its own size takes, about. */
  readonly size: string;
  readonly memory: string;
  readonly side: string;
  readonly licence: string;
}

/** Well-known models of the hub: the plain one, one of few steps, and a large one. */
const suggested: readonly Suggested[] = [
  {
    name: "stable-diffusion-v1-5/stable-diffusion-v1-5",
    what: "modelSd15",
    size: "2.1 GB",
    memory: "4 GB",
    side: "512 × 512",
    licence: "CreativeML OpenRAIL-M",
  },
  {
    name: "SimianLuo/LCM_Dreamshaper_v7",
    what: "modelLcm",
    size: "4.3 GB",
    memory: "4 GB",
    side: "512 × 512",
    licence: "MIT",
  },
  {
    name: "stabilityai/stable-diffusion-xl-base-1.0",
    what: "modelSdxl",
    size: "7 GB",
    memory: "10 GB",
    side: "1024 × 1024",
    licence: "CreativeML Open RAIL++-M",
  },
];

/** What the included model can do, and what can be added by one press; open as long as nothing was added. */
export function FirstRun() {
  const t = useWords();
  const [other, setOther] = useState("");
  const { models: entries, preparation } = useStore(models);
  const busy = preparation?.status === "running";
  const alone = entries.every(({ origin }) => origin === "included");
  const add = async (model: string) => {
    try {
      await ask("POST /models/prepare", { body: { model, precision: "fp16" } });
      await refreshModels();
      go("optimize");
    } catch (error) {
      note.set(problemOf(error, t("connectionLost")));
    }
  };
  return (
    <details class="first-run" open={alone}>
      <summary>{t("firstRun")}</summary>
      <p>{t("includedCan")}</p>
      <ul class="models">
        {suggested.map(({ name, what, size, memory, side, licence }) => (
          <li key={name}>
            <div>
              <strong>{name}</strong>
              <p>{t(what)}</p>
              <small class="hint">
                {t("toDownload", size)} · {t("inMemory", memory, side)} · {t("licence")}: {licence}
              </small>
              <OnTheHub name={name} />
            </div>
            <button
              type="button"
              aria-label={`${t("download1")}: ${name}`}
              disabled={busy}
              onClick={() => void add(name)}
            >
              <Download /> {t("download1")}
            </button>
          </li>
        ))}
      </ul>
      <form
        class="other-model"
        noValidate // the server says it in words
        onSubmit={(event) => {
          event.preventDefault();
          void add(other.trim());
        }}
      >
        <TextField label={t("otherOfHub")} value={other} placeholder="owner/name" onChange={setOther} />
        <HubCard name={other} />
        <button type="submit" disabled={busy || other.trim() === ""}>
          <Download /> {t("download1")}
        </button>
      </form>
    </details>
  );
}

/** Tags and licence as the hub has them today, asked for only by who opens it. */
function OnTheHub({ name }: { readonly name: string }) {
  const t = useWords();
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary aria-label={`${t("onTheHub")}: ${name}`}>{t("onTheHub")}</summary>
      {open && <HubCard name={name} />}
    </details>
  );
}
