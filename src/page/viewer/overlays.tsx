import { Undo2 } from "lucide-preact";
import { Keys } from "../keys/keys.js";
import { useSigns } from "../keys/signs.js";
import { useStore, useWords } from "../store.js";
import { removal, undoRemoval } from "./removal.js";
import { Viewer } from "./viewer.js";

/** What lies over every tab. */
export function Overlays() {
  useSigns();
  return (
    <>
      <Keys />
      <Viewer />
      <Undoing />
    </>
  );
}

/** For a few seconds after something was deleted. */
function Undoing() {
  const t = useWords();
  const ids = useStore(removal);
  return (
    <div role="status" class={ids.length > 0 ? "toast" : "visually-hidden"}>
      {ids.length > 0 && (
        <>
          <span>{t("deleted", ids.length)}</span>
          <button type="button" aria-label={t("undoDelete")} onClick={undoRemoval}>
            <Undo2 /> {t("undo")}
          </button>
        </>
      )}
    </div>
  );
}
