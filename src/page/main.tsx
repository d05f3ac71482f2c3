import { render } from "preact";
import { App } from "./app.js";
import { loadCatalog } from "./catalog.js";
import { problemOf, resumeJob } from "./jobs.js";
import { look } from "./store.js";
import { wordIn } from "./words.js";
import "./style.css";

const place = document.getElementById("page")!;
render(<App problem="" />, place);

const lost = wordIn(look.get().language, "connectionLost");
loadCatalog()
  .then(() => resumeJob(lost))
  .catch((error: unknown) => render(<App problem={problemOf(error, lost)} />, place));
