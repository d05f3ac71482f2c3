import { SingleBar } from "cli-progress";
import type { ProgressEvent } from "../index.js";
import { note, type Session, sayJson } from "./session.js";
import { bytesInWords, durationInWords } from "./wording.js";

/** Shows the progress of a call, picture by picture. */
export interface Progress {
  /** Events of the picture with this index (0-based) from here on. */
  begin(picture: number): void;
  event(event: ProgressEvent): void;
  /** Clears what is shown, so that something can be printed. */
  pause(): void;
}

/** A state to show: `done` of `total`, and both in words. */
interface View {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly amount: string;
  readonly leftMs?: number;
}

/**
 * A bar on a terminal, else a line at every quarter, both on standard error; with `json` a line for every event on
 * standard output.
 */
export function openProgress(session: Session, { pictures = 1, quiet = false } = {}): Progress {
  let picture = 0;
  const begin = (index: number) => {
    picture = index;
  };
  if (session.json)
    return { begin, event: (event) => sayJson({ ...plain(event), image: picture }), pause() {} };
  if (quiet) return { begin, event() {}, pause() {} };
  const { show, pause } = process.stderr.isTTY ? bar() : lines();
  const clock = stepClock();
  return {
    begin,
    event(event) {
      const view = viewOf(event, { picture, pictures, clock });
      if (view) show(view);
    },
    pause,
  };
}

/** Events without latents and previews, which are not for lines of text. */
function plain(event: ProgressEvent): object {
  if (event.type !== "step") return event;
  const { latents: _latents, previews: _previews, ...rest } = event;
  return rest;
}

interface Run {
  readonly picture: number;
  readonly pictures: number;
  readonly clock: (done: number, total: number) => number | undefined;
}

function viewOf(event: ProgressEvent, { picture, pictures, clock }: Run): View | undefined {
  switch (event.type) {
    case "download": {
      const { received, total, bytesPerSecond, etaMs } = event.overall;
      const amount = `${bytesInWords(received)} of ${bytesInWords(total)}, ${bytesInWords(bytesPerSecond)}/s`;
      const isKnown = Number.isFinite(etaMs);
      return { label: "download", done: received, total, amount, ...(isKnown && { leftMs: etaMs }) };
    }
    case "convert": {
      const { network, done, total } = event;
      const name = network.replace(/\.0$/, "").replace("_", " ");
      return { label: `preparing ${name}`, done, total, amount: `${done}/${total}` };
    }
    case "step": {
      const { step, steps } = event;
      const [done, total] = [picture * steps + step, pictures * steps];
      const leftMs = clock(done, total);
      const label = pictures > 1 ? `picture ${picture + 1}/${pictures}, step` : "step";
      return { label, done, total, amount: `${step}/${steps}`, ...(leftMs !== undefined && { leftMs }) };
    }
    default:
      return undefined;
  }
}

/** Time left from the steps behind the first, which also loads the network. */
function stepClock() {
  let first: { at: number; done: number } | undefined;
  return (done: number, total: number): number | undefined => {
    const now = performance.now();
    first ??= { at: now, done };
    return done > first.done ? ((now - first.at) / (done - first.done)) * (total - done) : undefined;
  };
}

const left = ({ leftMs }: View): string => (!leftMs ? "" : `, ${durationInWords(leftMs)} left`);

function bar() {
  const single = new SingleBar({
    format: "{label} {amount} {bar}{left}",
    stream: process.stderr,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    clearOnComplete: true,
    hideCursor: true,
    linewrap: null,
  });
  let shown: View | undefined;
  const pause = () => {
    if (shown) single.stop();
    shown = undefined;
  };
  return {
    show(view: View) {
      const payload = { label: view.label, amount: view.amount, left: left(view) };
      if (view.label !== shown?.label) {
        pause();
        single.start(view.total, view.done, payload);
      } else {
        single.setTotal(view.total);
        single.update(view.done, payload);
      }
      shown = view;
    },
    pause,
  };
}

function lines() {
  let [label, quarter] = ["", 0];
  return {
    show(view: View) {
      const now = Math.floor((4 * view.done) / Math.max(1, view.total));
      if (view.label === label && now === quarter) return;
      [label, quarter] = [view.label, now];
      note(`${label} ${view.amount}${left(view)}`);
    },
    pause() {},
  };
}
