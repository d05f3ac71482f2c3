import { useEffect, useState } from "preact/hooks";
import { ask } from "../server.js";
import { settings } from "../settings.js";
import { useStore, useWords } from "../store.js";

type Lora = { readonly name: string; readonly preview?: string };

/** The server's LoRAs, with the picture that lies beside each; a click puts one into the prompt or takes it out. */
export function LoraPicker() {
  const t = useWords();
  const [loras, setLoras] = useState<readonly Lora[]>([]);
  const { prompt } = useStore(settings);
  useEffect(() => {
    ask("GET /loras").then(
      ({ loras }) => setLoras(loras),
      () => {},
    );
  }, []);
  if (loras.length === 0) return null;
  const used = loras.filter(({ name }) => mention(name).test(prompt));
  const toggle = (name: string) =>
    settings.update({
      prompt: mention(name).test(prompt)
        ? prompt.replace(mention(name), "").trim()
        : `${prompt.trim()} <lora:${name}:1>`.trim(),
    });
  return (
    <details>
      <summary>
        {t("loras")}
        {used.length > 0 && <span class="hint"> {used.map(({ name }) => name).join(", ")}</span>}
      </summary>
      <ul class="cards">
        {loras.map(({ name, preview }) => (
          <li key={name}>
            <button
              type="button"
              class="thumbnail"
              aria-pressed={mention(name).test(prompt)}
              title={`<lora:${name}:1>`}
              onClick={() => toggle(name)}
            >
              {preview ? <img src={preview} alt="" loading="lazy" /> : <span class="no-picture" />}
              <span class="caption">{name}</span>
            </button>
          </li>
        ))}
      </ul>
    </details>
  );
}

const mention = (name: string): RegExp =>
  new RegExp(`\\s*<lora:${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(:[^<>]*)?>`);
