import { useEffect, useState } from "preact/hooks";
import { ask, type Named } from "../server.js";
import { settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import { Cards } from "./cards.js";

/** The server's LoRAs; a click puts one into the prompt or takes it out. */
export function LoraPicker() {
  const t = useWords();
  const [loras, setLoras] = useState<readonly Named[]>([]);
  const { prompt } = useStore(settings);
  useEffect(() => {
    ask("GET /loras").then(
      ({ loras }) => setLoras(loras),
      () => {},
    );
  }, []);
  if (loras.length === 0) return null;
  const isUsed = (name: string) => mention(name).test(prompt);
  const used = loras.filter(({ name }) => isUsed(name));
  const toggle = (name: string) =>
    settings.update({
      prompt: isUsed(name)
        ? prompt.replace(mention(name), "").trim()
        : `${prompt.trim()} <lora:${name}:1>`.trim(),
    });
  return (
    <details>
      <summary>
        {t("loras")}
        {used.length > 0 && <span class="hint"> {used.map(({ name }) => name).join(", ")}</span>}
      </summary>
      <Cards all={loras} pressed={isUsed} titleOf={(name) => `<lora:${name}:1>`} onPress={toggle} />
    </details>
  );
}

const mention = (name: string): RegExp => new RegExp(`\\s*<lora:${literal(name)}(:[^<>]*)?>`);

/** A name as a pattern that fits nothing but it. */
const literal = (name: string): string => name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
