import { ChevronLeft, ChevronRight, Columns2, Info, X, ZoomIn, ZoomOut } from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { note } from "../navigation.js";
import { useStore, useWords } from "../store.js";
import { deedsOf, fileNameOf, PictureActions } from "./actions.js";
import { useFavourites } from "./favourites.js";
import { PictureGrid } from "./picture-grid.js";
import { removal } from "./removal.js";
import { Stage } from "./stage.js";
import { thumbnailUrl } from "./thumbnail.js";
import { beforeOf, closeViewer, imagesOf, step, type Viewed, view, viewed } from "./viewed.js";
import { fitted, type Zoom, zoomAt } from "./zoom.js";

/** Pictures on the whole screen, one after the other; nothing while none is looked at. */
export function Viewer() {
  const now = useStore(viewed);
  const gone = useStore(removal);
  // What is deleted here leaves the row.
  useEffect(() => {
    // It may have been closed since this was drawn.
    const open = viewed.get();
    if (!open) return;
    const left = open.pictures.filter(({ job }) => !gone.includes(job.id));
    if (left.length === open.pictures.length) return;
    if (left.length === 0) void closeViewer();
    else viewed.set({ pictures: left, at: Math.min(open.at, left.length - 1) });
  }, [gone]);
  return now ? <OpenViewer now={now} /> : null;
}

function OpenViewer({ now: { pictures, at } }: { readonly now: Viewed }) {
  const t = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = pictures[at]!;
  const { image, job } = shown;
  const [zoom, setZoom] = useState<Zoom>(fitted);
  const [comparing, setComparing] = useState(false);
  const [informed, setInformed] = useState(false);
  const said = useStore(note);
  const before = beforeOf(shown);
  const liked = useFavourites().has(image.key);
  const deeds = deedsOf(shown, t);
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => setZoom(fitted), [image.key]);
  // The neighbours are there before they are asked for.
  useEffect(() => {
    for (const near of [pictures[at + 1], pictures[at - 1]]) if (near) new Image().src = near.image.url;
  }, [at, pictures]);
  const nearer = (factor: number) =>
    setZoom(zoom.scale * factor < 1.01 ? fitted : zoomAt(zoom, factor, { x: 0, y: 0 }));
  const keys: Readonly<Record<string, () => unknown>> = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    Home: () => step(-pictures.length),
    End: () => step(pictures.length),
    "+": () => nearer(1.5),
    "=": () => nearer(1.5),
    "-": () => nearer(1 / 1.5),
    "0": () => setZoom(fitted),
    b: () => before && setComparing(!comparing),
    i: () => setInformed(!informed),
    r: () => deeds.reuse?.(),
    s: () => deeds.reuseSeed?.(),
    d: () => dialog.current?.querySelector<HTMLElement>("a[download]")?.click(),
    c: () => deeds.copyPicture?.(),
    p: () => deeds.copyPrompt?.(),
    f: () => deeds.like(!liked),
    Delete: () => deeds.remove(),
  };
  return (
    <dialog
      ref={dialog}
      class="viewer"
      aria-label={t("viewer")}
      onCancel={(event) => {
        event.preventDefault();
        void closeViewer();
      }}
      // A browser may close it without asking.
      onClose={() => void closeViewer()}
      onKeyDown={(event) => {
        // The line between before and after has the arrow keys while it has the focus.
        if ((event.target as Element).matches("input") || event.ctrlKey || event.metaKey || event.altKey)
          return;
        const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
        if (!act) return;
        event.preventDefault();
        event.stopPropagation();
        void act();
      }}
    >
      <div class="viewer-bar">
        <span class="place">
          {at + 1} / {pictures.length}
        </span>
        <PictureActions shown={shown} keys />
        <div class="bar">
          {before && (
            <button
              type="button"
              class="icon"
              aria-pressed={comparing}
              aria-label={t("compare")}
              title={`${t("compare")} (B)`}
              onClick={() => setComparing(!comparing)}
            >
              <Columns2 />
            </button>
          )}
          <button
            type="button"
            class="icon"
            aria-label={t("zoomOut")}
            title={`${t("zoomOut")} (-)`}
            onClick={() => nearer(1 / 1.5)}
          >
            <ZoomOut />
          </button>
          <button
            type="button"
            class="icon"
            aria-label={t("zoomIn")}
            title={`${t("zoomIn")} (+)`}
            onClick={() => nearer(1.5)}
          >
            <ZoomIn />
          </button>
          <button
            type="button"
            class="icon"
            aria-pressed={informed}
            aria-label={t("parameters")}
            title={`${t("parameters")} (I)`}
            onClick={() => setInformed(!informed)}
          >
            <Info />
          </button>
          <button
            type="button"
            class="icon"
            aria-label={t("close")}
            title={`${t("close")} (Esc)`}
            onClick={() => void closeViewer()}
          >
            <X />
          </button>
        </div>
      </div>
      <Stage shown={shown} before={comparing ? before : undefined} zoom={zoom} onZoom={setZoom} />
      {at > 0 && (
        <button type="button" class="icon turn previous" aria-label={t("previous")} onClick={() => step(-1)}>
          <ChevronLeft />
        </button>
      )}
      {at < pictures.length - 1 && (
        <button type="button" class="icon turn next" aria-label={t("next")} onClick={() => step(1)}>
          <ChevronRight />
        </button>
      )}
      {informed && (
        <aside class="viewer-info" aria-label={t("parameters")}>
          <p class="hint">
            {image.width} × {image.height} · {job.model} · {new Date(job.created).toLocaleString()}
          </p>
          <pre>{image.parameters}</pre>
          <PictureGrid
            job={job}
            chosen={imagesOf(job).findIndex(({ key }) => key === image.key)}
            onChoose={(index) => {
              const key = imagesOf(job)[index]?.key;
              view(
                pictures,
                pictures.findIndex((one) => one.image.key === key && one.job.id === job.id),
              );
            }}
          />
        </aside>
      )}
      <p class="viewer-said" role="status">
        {said}
      </p>
      {pictures.length > 1 && (
        <div class="strip">
          {nearby(pictures.length, at).map((index) => (
            <button
              key={index}
              type="button"
              class="cell"
              aria-pressed={index === at}
              aria-label={`${index + 1} / ${pictures.length}`}
              onClick={() => step(index - at)}
            >
              <img
                src={thumbnailUrl(pictures[index]!.image, 128)}
                alt=""
                title={fileNameOf(pictures[index]!)}
              />
            </button>
          ))}
        </div>
      )}
    </dialog>
  );
}

/** As many as stand in the row of small ones, with the one that is looked at among them. */
function nearby(count: number, at: number): readonly number[] {
  const shown = Math.min(count, 15);
  const first = Math.min(count - shown, Math.max(0, at - 7));
  return Array.from({ length: shown }, (_, i) => first + i);
}
