import { X } from "lucide-preact";
import { useEffect, useRef } from "preact/hooks";
import { currentJob } from "../jobs.js";
import { ask } from "../server.js";
import { createStore, useStore, useWords } from "../store.js";
import type { Word } from "../words.js";
import { weighted } from "./weights.js";

/** Whether the list of keys is open. */
export const keysShown = createStore(false);

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof Element &&
  target.matches("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");

/** Whether Esc has a meaning of its own there: it closes a list of choices, or empties a search. */
const takesEscape = (target: EventTarget | null): boolean =>
  target instanceof Element && target.matches("select, input[type=search]:not(:placeholder-shown)");

/** The keys that hold everywhere. */
function onKeyDown(event: KeyboardEvent): void {
  // Where characters are put together from several keys, each of them belongs to that.
  if (event.isComposing) return;
  const ctrl = event.ctrlKey || event.metaKey;
  if (ctrl && event.key === "Enter") {
    const form = document.querySelector<HTMLFormElement>("main form");
    if (!form || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    event.stopPropagation();
    form.requestSubmit();
  } else if (ctrl && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    if (event.target instanceof HTMLTextAreaElement) changeWeight(event.target, event);
  } else if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) {
    const { job } = currentJob.get();
    if (takesEscape(event.target)) return;
    if (job?.status === "running" || job?.status === "queued")
      void ask("DELETE /jobs/:id", { at: job.id }).catch(() => {});
  } else if (event.key === "?" && !isTyping(event.target)) keysShown.set(true);
}

function changeWeight(field: HTMLTextAreaElement, event: KeyboardEvent): void {
  const { value: text, selectionStart: start, selectionEnd: end } = field;
  const changed = weighted({ text, start, end }, event.key === "ArrowUp" ? 1 : -1);
  event.preventDefault();
  if (changed.text === text) return;
  // As if it was typed, so that the browser's own undo takes it back.
  field.select();
  document.execCommand("insertText", false, changed.text);
  field.setSelectionRange(changed.start, changed.end);
}

const rows: readonly (readonly [string, Word])[] = [
  ["Ctrl Enter", "keyGenerate"],
  ["Esc", "keyEscape"],
  ["Ctrl ↑ ↓", "keyWeight"],
  ["Ctrl V", "keyPaste"],
  ["?", "keyHelp"],
];
const viewerRows: readonly (readonly [string, Word])[] = [
  ["← →", "keyTurn"],
  ["+ − 0", "keyZoom"],
  ["B", "compare"],
  ["I", "parameters"],
  ["F", "favourite"],
  ["R", "restore"],
  ["S", "seedReuse"],
  ["D", "download"],
  ["C", "copyPicture"],
  ["P", "copyPrompt"],
  ["Del", "remove"],
];
const maskRows: readonly (readonly [string, Word])[] = [["↑ ↓ ← → Space", "maskKeys"]];

/** Listens for the keys; shows their list when it is asked for. */
export function Keys() {
  const shown = useStore(keysShown);
  useEffect(() => {
    // Before fields have a say.
    document.addEventListener("keydown", onKeyDown, { capture: true });
    return () => document.removeEventListener("keydown", onKeyDown, { capture: true });
  }, []);
  return shown ? <KeyList /> : null;
}

function KeyList() {
  const t = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const section = (title: Word, list: typeof rows) => (
    <>
      <h3>{t(title)}</h3>
      <dl>
        {list.map(([keys, word]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{t(word)}</dd>
          </div>
        ))}
      </dl>
    </>
  );
  return (
    <dialog ref={dialog} class="keys" aria-labelledby="keys-title" onClose={() => keysShown.set(false)}>
      <div class="row spread">
        <h2 id="keys-title">{t("keys")}</h2>
        <button type="button" class="icon" aria-label={t("close")} onClick={() => dialog.current?.close()}>
          <X />
        </button>
      </div>
      {section("keysEverywhere", rows)}
      {section("viewer", viewerRows)}
      {section("mask", maskRows)}
    </dialog>
  );
}
