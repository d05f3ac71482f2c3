import { cellOf, type Grid, gridOfRequest } from "../axes.js";
import { type GenerateView, generateOf, type ImageView, type JobView } from "../server.js";
import { createStore } from "../store.js";

/** A finished picture, and the job that made it. */
export interface Shown {
  readonly image: ImageView;
  readonly job: JobView;
}

/** What the viewer goes through, and where it is. */
export interface Viewed {
  readonly pictures: readonly Shown[];
  readonly at: number;
}

/** What stands in the viewer; nothing while it is closed. */
export const viewed = createStore<Viewed | undefined>(undefined);

/** Those of a job that are there by now. */
export const imagesOf = ({ result, progress }: JobView): readonly ImageView[] =>
  result?.images ?? progress?.finished ?? [];

/** The axes of a job whose cells are all there. */
export function wholeGrid(job: JobView): Grid | undefined {
  const grid = gridOfRequest(job.request);
  const cells = grid && grid.x.values.length * (grid.y?.values.length ?? 1);
  return grid && imagesOf(job).length === cells ? grid : undefined;
}

/** The pictures of jobs; each cell of a grid with the request that it alone was made with. */
export const shownOf = (jobs: readonly JobView[]): readonly Shown[] =>
  jobs.flatMap((job) => {
    const cells = wholeGrid(job) !== undefined;
    return imagesOf(job).map((image, index) => ({
      image,
      job: cells ? { ...job, request: cellOf(job.request, index) } : job,
    }));
  });

/** The Back button closes it: a step of the browser's history stands for the open viewer. */
export function view(pictures: readonly Shown[], at: number): void {
  // The step back that is under way would close it again.
  if (closing) return void closing.then(() => view(pictures, at));
  if (!viewed.get()) history.pushState({ viewer: true }, "");
  viewed.set({ pictures, at });
}

addEventListener("popstate", () => viewed.set(undefined));

let closing: Promise<void> | undefined;

/** Resolves when the address is what it was before. Asked for twice, it goes back once. */
export function closeViewer(): Promise<void> {
  if (!viewed.get()) return Promise.resolve();
  closing ??= new Promise<void>((resolve) => {
    const gone = () => {
      closing = undefined;
      resolve();
    };
    addEventListener("popstate", gone, { once: true });
    history.back();
  });
  return closing;
}

export function step(by: number): void {
  const now = viewed.get();
  if (!now) return;
  const at = Math.min(now.pictures.length - 1, Math.max(0, now.at + by));
  if (at !== now.at) viewed.set({ ...now, at });
}

/** What a picture was made from: the picture that went in, and how it came to stand under the one that came out. */
export interface Before {
  readonly url: string;
  readonly margins?: NonNullable<GenerateView["expand"]>;
  readonly resizeMode?: NonNullable<GenerateView["resizeMode"]>;
}

export function beforeOf({ image, job }: Shown): Before | undefined {
  const { request } = job;
  if (request.kind === "upscale") return { url: request.image.url };
  const { images = [], expand, resizeMode } = request;
  const index = imagesOf(job).findIndex(({ key }) => key === image.key);
  const start = request.image ?? images[Math.max(0, index) % images.length];
  if (!start || generateOf(job)?.grid) return undefined;
  return {
    url: start.url,
    ...(expand && { margins: expand }),
    ...(resizeMode && { resizeMode }),
  };
}
