import { useEffect } from "preact/hooks";
import { currentJob } from "../jobs.js";
import { type JobView, promptOf } from "../server.js";
import { look, rememberedStore, useStore, useWords } from "../store.js";
import { imagesOf } from "../viewer/viewed.js";

const name = "tfjs-diffusion";

/** Whether to tell the desktop when a job is done while the page is not looked at. */
export const notifying = rememberedStore("notify", { on: false });

/** Asks the browser where it has not been asked. @returns whether it lets us */
export async function allowNotifications(): Promise<boolean> {
  if (!("Notification" in window)) return false;
  return (await Notification.requestPermission()) === "granted";
}

/** Title and icon of the window show how far the job is; a notification says when it is done. */
export function useSigns(): void {
  const t = useWords();
  const { job } = useStore(currentJob);
  const { language } = useStore(look);
  const share = job?.status === "running" ? (job.progress?.share ?? 0) : undefined;
  const percent = share === undefined ? undefined : Math.round(share * 100);
  useEffect(() => {
    const waiting = job?.status === "queued" ? `${t("waiting")} · ` : "";
    document.title = percent === undefined ? waiting + name : `${percent} % · ${name}`;
    setIcon(share);
  }, [percent, job?.status, language]);
  useEffect(() => {
    if (!job || job.finished === undefined || !document.hidden || !notifying.get().on) return;
    // One that had ended before this page was opened is no news.
    if (Date.now() - job.finished > 60_000) return;
    if ("Notification" in window && Notification.permission === "granted") notify(job);
  }, [job?.id, job?.finished]);
  const notify = (done: JobView) => {
    const [first] = imagesOf(done);
    const said = new Notification(t(done.status === "completed" ? "done" : "ended"), {
      body: promptOf(done),
      tag: done.id,
      ...(first && { icon: first.url }),
    });
    said.onclick = () => {
      window.focus();
      said.close();
    };
  };
}

/** A ring that fills; a full disk when nothing runs. */
function setIcon(share: number | undefined): void {
  const canvas = document.createElement("canvas");
  canvas.width = 64;
  canvas.height = 64;
  const context = canvas.getContext("2d")!;
  const arc = (from: number, to: number, colour: string, width: number) => {
    context.beginPath();
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.arc(32, 32, 24, 2 * Math.PI * (from - 0.25), 2 * Math.PI * (to - 0.25));
    context.stroke();
  };
  if (share === undefined) {
    context.fillStyle = "#5468e0";
    context.arc(32, 32, 28, 0, 2 * Math.PI);
    context.fill();
    arc(0.1, 0.6, "#ffffff", 7);
  } else {
    arc(0, 1, "#8a8ea0", 12);
    arc(0, Math.max(0.02, share), "#e0672f", 12);
  }
  document.querySelector<HTMLLinkElement>('link[rel="icon"]')!.href = canvas.toDataURL();
}
