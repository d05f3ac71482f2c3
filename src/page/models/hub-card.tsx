import { useEffect, useState } from "preact/hooks";
import type { Answers } from "../../server/http/answers.js";
import { problemOf } from "../jobs.js";
import { ask } from "../server.js";
import { useWords } from "../store.js";

type Card = Answers["GET /models/hub"];

/** A moment after the last key, so that the hub is not asked about halves of names. */
const PAUSE_MS = 600;

/** What the hub says of a model before anything of it is downloaded; nothing for what is no name of the hub. */
export function HubCard({ name }: { readonly name: string }) {
  const t = useWords();
  const [card, setCard] = useState<Card>();
  const [problem, setProblem] = useState("");
  const asked = /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(name.trim()) ? name.trim() : "";
  useEffect(() => {
    setCard(undefined);
    setProblem("");
    if (!asked) return;
    let current = true;
    const timer = setTimeout(() => {
      ask("GET /models/hub", { query: { name: asked } }).then(
        (card) => current && setCard(card),
        (error: unknown) => current && setProblem(problemOf(error, t("connectionLost"))),
      );
    }, PAUSE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [asked]);
  if (problem) return <p role="alert">{problem}</p>;
  if (!card) return null;
  const licence = card.licence ?? t("licenceUnknown");
  return (
    <section class="hub-card" aria-label={card.repo}>
      <p>
        {t("licence")}:{" "}
        {card.licenceLink ? (
          <a href={card.licenceLink} target="_blank" rel="noreferrer">
            {licence}
          </a>
        ) : (
          <strong>{licence}</strong>
        )}
      </p>
      {card.gated && <p class="hint">{t("gatedHelp")}</p>}
      {card.tags.length > 0 && (
        <ul class="tags" aria-label={t("tags")}>
          {card.tags.map((tag) => (
            <li key={tag} class="badge">
              {tag}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
