import { Bell, BellOff, Keyboard } from "lucide-preact";
import { note } from "../navigation.js";
import { useStore, useWords } from "../store.js";
import { keysShown } from "./keys.js";
import { allowNotifications, notifying } from "./signs.js";

/** Beside the switches for theme and language: notifications, and the list of keys. */
export function HeaderTools() {
  const t = useWords();
  const { on } = useStore(notifying);
  const toggle = async () => {
    const allowed = on || (await allowNotifications());
    notifying.set({ on: allowed && !on });
    if (!allowed) note.set(t("notifyRefused"));
  };
  return (
    <div class="bar">
      <button
        type="button"
        class="icon"
        aria-pressed={on}
        aria-label={t("notify")}
        title={t("notify")}
        onClick={() => void toggle()}
      >
        {on ? <Bell /> : <BellOff />}
      </button>
      <button
        type="button"
        class="icon"
        aria-label={t("keys")}
        title={`${t("keys")} (?)`}
        onClick={() => keysShown.set(true)}
      >
        <Keyboard />
      </button>
    </div>
  );
}
