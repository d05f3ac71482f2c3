import { render } from "preact";
import { App } from "./app.js";
import { catalogState, loadCatalog } from "./catalog.js";
import { connection, lookForServer } from "./connection.js";
import { restoreMask } from "./fields/mask-strokes.js";
import { problemOf, resumeJob } from "./jobs.js";
import { keepPictures } from "./kept.js";
import { forgetWithCauses } from "./messages.js";
import { note } from "./navigation.js";
import { ServerError } from "./server.js";
import { look } from "./store.js";
import { wordIn } from "./words.js";
import "./style.css";

const place = document.getElementById("page")!;
// What stood there until the script had come.
place.replaceChildren();
render(<App />, place);

const { language } = look.get();
const lost = wordIn(language, "connectionLost");

// What nobody has thought of is said, too.
addEventListener("unhandledrejection", (event) => {
  const { reason } = event;
  event.preventDefault();
  if (reason instanceof ServerError) note.set(reason.message);
  else if (reason instanceof TypeError && /fetch|network/i.test(reason.message)) void lookForServer();
  else note.set(wordIn(language, "somethingFailed", String(reason?.message ?? reason)));
});

async function open(): Promise<void> {
  try {
    await loadCatalog();
    await resumeJob(lost);
    catalogState.set({ state: "ready" });
  } catch (error) {
    catalogState.set({ state: "failed", problem: problemOf(error, lost) });
  }
}

void keepPictures(restoreMask).then(forgetWithCauses);
void open();
connection.subscribe(() => {
  if (connection.get() === "fine" && catalogState.get().state === "failed") void open();
});
