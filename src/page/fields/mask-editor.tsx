import {
  Brush,
  CircleX,
  Contrast,
  Eraser,
  type LucideIcon,
  Maximize2,
  Redo2,
  Undo2,
  ZoomIn,
  ZoomOut,
} from "lucide-preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { sources } from "../settings.js";
import { useStore, useWords } from "../store.js";
import type { Word } from "../words.js";
import { Slider } from "./fields.js";
import {
  keepStrokes,
  type Line,
  maskWork,
  type Point,
  paintedMask,
  type Stroke,
  showEnd,
} from "./mask-strokes.js";

const tint = "rgba(255, 45, 85, 0.55)";
const smallest = 2;
const largest = 512;
const mostZoom = 8;

/** The picture with a brush and an eraser, undo and redo, near or whole; also by keyboard. */
export function MaskEditor() {
  const t = useWords();
  const { image, width, height } = useStore(sources);
  const work = useStore(maskWork);
  const { strokes, undone } = work;
  const [tool, setTool] = useState<Line["tool"]>("brush");
  const [size, setSize] = useState(40);
  const [cursor, setCursor] = useState<Point>({ x: width / 2, y: height / 2 });
  /** The ring is where the pointer is, or while keys are used, where they have come to. */
  const [ring, setRing] = useState(false);
  const [zoom, setZoom] = useState(1);
  const editor = useRef<HTMLDivElement>(null);
  const shown = useRef<HTMLCanvasElement>(null);
  const drawing = useRef<Line>();

  const draw = () => {
    const canvas = shown.current;
    if (!canvas || maskWork.get().image !== image) return;
    const context = canvas.getContext("2d")!;
    context.clearRect(0, 0, width, height);
    context.drawImage(paintedMask(maskWork.get().strokes, { width, height }), 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = tint;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
  };
  const add = (stroke: Stroke) => keepStrokes({ image, strokes: [...strokes, stroke], undone: [] });
  const undo = () => {
    const last = strokes.at(-1);
    if (last) keepStrokes({ image, strokes: strokes.slice(0, -1), undone: [last, ...undone] });
  };
  const redo = () => {
    const [next, ...rest] = undone;
    if (next) keepStrokes({ image, strokes: [...strokes, next], undone: rest });
  };
  const resize = (factor: number) =>
    setSize((size) => {
      const step = Math.max(1, Math.abs(Math.round(size * (factor - 1))));
      return Math.min(largest, Math.max(smallest, factor > 1 ? size + step : size - step));
    });
  const zoomBy = (factor: number) => setZoom((zoom) => Math.min(mostZoom, Math.max(1, zoom * factor)));

  // A new picture begins with a clean mask.
  useEffect(() => {
    setSize(Math.max(4, Math.round(Math.min(width, height) / 6)));
    setCursor({ x: width / 2, y: height / 2 });
    setZoom(1);
    if (image && maskWork.get().image !== image) keepStrokes({ image, strokes: [], undone: [] });
  }, [image]);
  useEffect(draw, [strokes, image, width, height]);
  // Only on a picture that is being worked on: elsewhere the wheel scrolls the page. Preact's listeners are passive.
  useEffect(() => {
    const canvas = shown.current;
    const turn = (event: WheelEvent) => {
      if (event.ctrlKey) zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
      else if (document.activeElement === canvas) resize(event.deltaY < 0 ? 1.15 : 0.85);
      else return;
      event.preventDefault();
    };
    canvas?.addEventListener("wheel", turn, { passive: false });
    return () => canvas?.removeEventListener("wheel", turn);
  }, [image]);

  if (!image) return null;
  const at = (event: PointerEvent): Point => {
    const box = shown.current!.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * width) / box.width,
      y: ((event.clientY - box.top) * height) / box.height,
    };
  };
  const move = (x: number, y: number) => {
    setRing(true);
    setCursor({
      x: Math.min(width, Math.max(0, cursor.x + x)),
      y: Math.min(height, Math.max(0, cursor.y + y)),
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const by = event.shiftKey ? 1 : Math.max(1, Math.round(size / 2));
    const ctrl = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const does: Record<string, () => void> = ctrl
      ? { z: event.shiftKey ? redo : undo, y: redo }
      : {
          arrowleft: () => move(-by, 0),
          arrowright: () => move(by, 0),
          arrowup: () => move(0, -by),
          arrowdown: () => move(0, by),
          " ": () => add({ tool, size, points: [cursor] }),
          enter: () => add({ tool, size, points: [cursor] }),
          "[": () => resize(0.85),
          "]": () => resize(1.15),
          "+": () => zoomBy(1.25),
          "-": () => zoomBy(0.8),
          "0": () => setZoom(1),
          b: () => setTool("brush"),
          e: () => setTool("eraser"),
        };
    if (!does[key]) return;
    does[key]();
    event.preventDefault();
  };
  const end = () => {
    drawing.current = undefined;
    draw();
  };
  const fullScreen = () =>
    void (document.fullscreenElement ? document.exitFullscreen() : editor.current?.requestFullscreen());
  const percent = (part: number, whole: number) => `${(100 * part) / whole}%`;
  return (
    <div ref={editor} class="mask-editor">
      <p class="hint">{t("maskHint")}</p>
      <div class="bar" role="toolbar" aria-label={t("maskTools")}>
        <Tool word="brush" pressed={tool === "brush"} onClick={() => setTool("brush")} icon={Brush} />
        <Tool word="eraser" pressed={tool === "eraser"} onClick={() => setTool("eraser")} icon={Eraser} />
        <Tool word="undo" disabled={strokes.length === 0} onClick={undo} icon={Undo2} />
        <Tool word="redo" disabled={undone.length === 0} onClick={redo} icon={Redo2} />
        <Tool word="invert" onClick={() => add({ tool: "invert" })} icon={Contrast} />
        <Tool
          word="clear"
          disabled={strokes.length === 0}
          onClick={() => add({ tool: "clear" })}
          icon={CircleX}
        />
        <Tool word="zoomOut" disabled={zoom <= 1} onClick={() => zoomBy(0.8)} icon={ZoomOut} />
        <Tool word="zoomIn" disabled={zoom >= mostZoom} onClick={() => zoomBy(1.25)} icon={ZoomIn} />
        {document.fullscreenEnabled && <Tool word="fullScreen" onClick={fullScreen} icon={Maximize2} />}
      </div>
      <Slider label={t("brushSize")} value={size} min={smallest} max={largest} step={1} onChange={setSize} />
      <div class="mask-view" {...(zoom > 1 && { tabIndex: 0, role: "group", "aria-label": t("picture") })}>
        <div class="layers" style={{ "--ratio": width / height, "--zoom": zoom }}>
          <img class="source" src={image} alt="" />
          {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: it is painted on with keys */}
          <canvas
            ref={shown}
            width={width}
            height={height}
            tabIndex={0}
            role="application"
            aria-label={`${t("mask")}. ${t("maskKeys")}`}
            onKeyDown={onKeyDown}
            onFocus={(event) => event.currentTarget.matches(":focus-visible") && setRing(true)}
            onBlur={() => setRing(false)}
            onPointerLeave={() => setRing(false)}
            onPointerDown={(event) => {
              // Other buttons have their own meaning, and a second finger moves the page.
              if (event.button !== 0 || !event.isPrimary) return;
              event.currentTarget.setPointerCapture(event.pointerId);
              drawing.current = { tool, size, points: [at(event)] };
              showEnd(event.currentTarget, drawing.current, tint);
            }}
            onPointerMove={(event) => {
              setRing(event.pointerType !== "touch");
              setCursor(at(event));
              if (!drawing.current || !event.isPrimary) return;
              drawing.current.points.push(at(event));
              showEnd(event.currentTarget, drawing.current, tint);
            }}
            onPointerUp={(event) => {
              if (!event.isPrimary || !drawing.current) return;
              const line = drawing.current;
              drawing.current = undefined;
              add(line);
            }}
            onPointerCancel={end}
          />
          {ring && (
            <span
              class="brush-ring"
              style={{
                left: percent(cursor.x - size / 2, width),
                top: percent(cursor.y - size / 2, height),
                width: percent(size, width),
              }}
            />
          )}
        </div>
      </div>
      <small class="hint keyboard">{t("maskKeys")}</small>
    </div>
  );
}

/** A tool as an icon, so that all of them stand in one row and the picture has the room. */
function Tool({
  word,
  icon: Icon,
  pressed,
  disabled = false,
  onClick,
}: {
  readonly word: Word;
  readonly icon: LucideIcon;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
  readonly onClick: () => void;
}) {
  const t = useWords();
  return (
    <button
      type="button"
      class="icon"
      aria-label={t(word)}
      title={t(word)}
      aria-pressed={pressed}
      {...{ disabled, onClick }}
    >
      <Icon />
    </button>
  );
}
