import { useEffect, useRef, useState } from "preact/hooks";
import { useWords } from "../store.js";
import { Layers } from "./layers.js";
import { type Before, type Shown, step } from "./viewed.js";
import { type Area, fitIn, fitted, held, type Zoom, zoomAt } from "./zoom.js";

/** From how many pixels of the screen for one of the picture on these are shown as they are. */
const PLAIN_PIXELS = 6;

/**
 * The picture that can be looked at closely: wheel or two fingers zoom where they are, dragging moves it, a double
 * click goes between whole and its own size. While it is whole, a swipe goes to its neighbours.
 */
export function Stage({
  shown,
  before,
  zoom,
  onZoom,
}: {
  readonly shown: Shown;
  /** What to compare it with, while it is compared. */
  readonly before: Before | undefined;
  readonly zoom: Zoom;
  readonly onZoom: (zoom: Zoom) => void;
}) {
  const t = useWords();
  const { image, job } = shown;
  const stage = useRef<HTMLElement>(null);
  const [room, setRoom] = useState<Area>({ width: 1, height: 1 });
  useEffect(() => {
    const seen = new ResizeObserver(([entry]) => entry && setRoom(entry.contentRect));
    seen.observe(stage.current!);
    return () => seen.disconnect();
  }, []);
  const fit = fitIn(image, room);
  const change = (next: Zoom) => onZoom(held(next, fit, room));
  const fromMiddle = ({ clientX, clientY }: { clientX: number; clientY: number }) => {
    const { left, top, width, height } = stage.current!.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  };
  const fingers = useFingers({
    zoom,
    change,
    fromMiddle,
    onSwipe: before ? () => {} : (to) => step(to),
    move: !before,
  });
  return (
    <section
      ref={stage}
      aria-label={t("result")}
      class={`stage ${zoom.scale > 1 ? "near" : ""}`}
      onWheel={(event) => {
        event.preventDefault();
        change(zoomAt(zoom, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), fromMiddle(event)));
      }}
      onDblClick={(event) => {
        const own = Math.max(2, image.width / fit.width);
        change(zoom.scale > 1 ? fitted : zoomAt(zoom, own, fromMiddle(event)));
      }}
      {...fingers}
    >
      <div
        class={`placed ${(fit.width * zoom.scale) / image.width >= PLAIN_PIXELS && zoom.scale > 1 ? "plain" : ""}`}
        style={{
          width: `${fit.width}px`,
          height: `${fit.height}px`,
          transform: `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`,
        }}
      >
        {before ? (
          <Layers shown={shown} before={before} />
        ) : (
          <img
            src={image.url}
            draggable={false}
            alt={("prompt" in job.request && job.request.prompt) || t("result")}
          />
        )}
      </div>
    </section>
  );
}

type Point = { readonly x: number; readonly y: number };
const SWIPE = 60;

/** One pointer moves, two zoom. */
function useFingers({
  zoom,
  change,
  fromMiddle,
  onSwipe,
  move,
}: {
  readonly zoom: Zoom;
  readonly change: (zoom: Zoom) => void;
  readonly fromMiddle: (event: PointerEvent) => Point;
  readonly onSwipe: (by: number) => void;
  /** Whether one pointer moves the picture; where it is compared, it moves the line. */
  readonly move: boolean;
}) {
  const down = useRef(new Map<number, Point>());
  const travelled = useRef(0);
  const end = (event: PointerEvent) => {
    const wasOne = down.current.delete(event.pointerId) && down.current.size === 0;
    if (wasOne && zoom.scale === 1 && event.pointerType === "touch" && Math.abs(travelled.current) > SWIPE)
      onSwipe(travelled.current < 0 ? 1 : -1);
    travelled.current = 0;
  };
  return {
    onPointerDown(event: PointerEvent & { currentTarget: HTMLElement }) {
      if (event.button !== 0) return;
      down.current.set(event.pointerId, fromMiddle(event));
      if (move) event.currentTarget.setPointerCapture(event.pointerId);
    },
    onPointerMove(event: PointerEvent) {
      const was = down.current.get(event.pointerId);
      if (!was) return;
      const now = fromMiddle(event);
      const [other] = [...down.current].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      down.current.set(event.pointerId, now);
      if (other) {
        const distance = (point: Point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
        change(zoomAt(zoom, distance(now) / distance(was), other));
      } else if (move && zoom.scale > 1) {
        change({ ...zoom, x: zoom.x + now.x - was.x, y: zoom.y + now.y - was.y });
      } else travelled.current += now.x - was.x;
    },
    onPointerUp: end,
    onPointerCancel: end,
  };
}
