import { useEffect, useState } from "preact/hooks";
import { Radios } from "../fields/fields.js";
import { ask, type Named } from "../server.js";
import { settings } from "../settings.js";
import { useStore, useWords } from "../store.js";
import { Cards } from "./cards.js";
import { saysWord, toggledWord } from "./learned-words.js";

const places = ["prompt", "negativePrompt"] as const;

/** The server's learned words; a click puts one into the prompt or the negative prompt, or takes it out. */
export function WordPicker() {
  const t = useWords();
  const [words, setWords] = useState<readonly Named[]>([]);
  const [place, setPlace] = useState<(typeof places)[number]>("prompt");
  const form = useStore(settings);
  useEffect(() => {
    ask("GET /embeddings").then(
      ({ embeddings }) => setWords(embeddings),
      () => {},
    );
  }, []);
  if (words.length === 0) return null;
  const used = words.filter(({ name }) => places.some((place) => saysWord(form[place], name)));
  return (
    <details>
      <summary>
        {t("learnedWords")}
        {used.length > 0 && <span class="hint"> {used.map(({ name }) => name).join(", ")}</span>}
      </summary>
      <div class="fields">
        <Radios
          label={t("wordGoesTo")}
          value={place}
          choices={places.map((value) => ({ value, label: t(value) }))}
          onChange={(chosen) => setPlace(places.find((place) => place === chosen) ?? "prompt")}
        />
        <Cards
          all={words}
          pressed={(name) => saysWord(form[place], name)}
          onPress={(name) => settings.update({ [place]: toggledWord(form[place], name) })}
        />
      </div>
    </details>
  );
}
