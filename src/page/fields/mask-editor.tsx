import { useEffect, useRef, useState } from "preact/hooks";
import { sources } from "../settings.js";
import { createStore, useStore, useWords } from "../store.js";
import { Slider } from "./fields.js";

interface Point {
  readonly x: number;
  readonly y: number;
}

/** One movement of the brush, a turning of the whole mask inside out, or a mask that was there before. */
type Stroke =
  | { readonly tool: "brush" | "eraser"; readonly size: number; readonly points: Point[] }
  | { readonly tool: "invert" }
  | { readonly tool: "restore"; readonly mask: HTMLCanvasElement };

/** What was painted on a picture; it stays while other tabs are open. */
const work = createStore<{ readonly image: string; readonly strokes: readonly Stroke[] }>({
  image: "",
  strokes: [],
});

/** Puts an earlier mask, white on black, over the picture that is being worked on. */
export async function restoreMask(file: Blob): Promise<void> {
  const bitmap = await createImageBitmap(file);
  const { image, width, height } = sources.get();
  const mask = document.createElement("canvas");
  Object.assign(mask, { width, height });
  const context = mask.getContext("2d")!;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const light = pixels.data[at]!;
    pixels.data.fill(255, at, at + 3);
    pixels.data[at + 3] = light;
  }
  context.putImageData(pixels, 0, 0);
  work.set({ image, strokes: [{ tool: "restore", mask }] });
  sources.update({ mask: maskUrl(mask) });
}

const tint = "rgba(255, 45, 85, 0.55)";

/** Paints strokes white on a transparent canvas: what is white will be repainted. */
function paint(canvas: HTMLCanvasElement, strokes: readonly Stroke[]): void {
  const context = canvas.getContext("2d")!;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = "white";
  context.fillStyle = "white";
  for (const stroke of strokes) {
    if (stroke.tool === "invert") {
      context.globalCompositeOperation = "xor";
      context.fillRect(0, 0, canvas.width, canvas.height);
      continue;
    }
    if (stroke.tool === "restore") {
      context.globalCompositeOperation = "source-over";
      context.drawImage(stroke.mask, 0, 0);
      continue;
    }
    context.globalCompositeOperation = stroke.tool === "brush" ? "source-over" : "destination-out";
    context.lineWidth = stroke.size;
    context.beginPath();
    const [first] = stroke.points;
    context.moveTo(first!.x, first!.y);
    // A line of no length would not be drawn.
    context.lineTo(first!.x + 0.01, first!.y);
    for (const { x, y } of stroke.points) context.lineTo(x, y);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

/** White on black, for the server. */
function maskUrl(painted: HTMLCanvasElement): string {
  const canvas = document.createElement("canvas");
  canvas.width = painted.width;
  canvas.height = painted.height;
  const context = canvas.getContext("2d")!;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(painted, 0, 0);
  return canvas.toDataURL("image/png");
}

/** The picture with a brush, an eraser and undo; also by keyboard. */
export function MaskEditor() {
  const t = useWords();
  const { image, width, height } = useStore(sources);
  const { strokes } = useStore(work);
  const [tool, setTool] = useState<"brush" | "eraser">("brush");
  const [size, setSize] = useState(40);
  const [cursor, setCursor] = useState<Point>({ x: width / 2, y: height / 2 });
  const [focused, setFocused] = useState(false);
  const shown = useRef<HTMLCanvasElement>(null);
  const painted = useRef<HTMLCanvasElement>();
  const drawing = useRef<Extract<Stroke, { points: Point[] }>>();

  const draw = (all: readonly Stroke[]) => {
    const canvas = shown.current;
    if (!canvas) return;
    painted.current ??= document.createElement("canvas");
    if (painted.current.width !== width || painted.current.height !== height)
      Object.assign(painted.current, { width, height });
    paint(painted.current, all);
    const context = canvas.getContext("2d")!;
    context.clearRect(0, 0, width, height);
    context.drawImage(painted.current, 0, 0);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = tint;
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
    if (focused) drawCursor(context, cursor, size);
  };
  const keep = (all: readonly Stroke[]) => {
    work.set({ image, strokes: all });
    draw(all);
    sources.update({ mask: all.length > 0 ? maskUrl(painted.current!) : "" });
  };
  // A new picture begins with a clean mask.
  useEffect(() => {
    setSize(Math.max(4, Math.round(Math.min(width, height) / 6)));
    setCursor({ x: width / 2, y: height / 2 });
    if (work.get().image !== image) keep([]);
  }, [image]);
  useEffect(() => draw(strokes));

  if (!image) return null;
  const at = (event: PointerEvent): Point => {
    const box = shown.current!.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) * width) / box.width,
      y: ((event.clientY - box.top) * height) / box.height,
    };
  };
  const undo = () => keep(strokes.slice(0, -1));
  const onKeyDown = (event: KeyboardEvent) => {
    const by = event.shiftKey ? 1 : Math.max(1, Math.round(size / 2));
    const moves: Record<string, Point> = {
      ArrowLeft: { x: -by, y: 0 },
      ArrowRight: { x: by, y: 0 },
      ArrowUp: { x: 0, y: -by },
      ArrowDown: { x: 0, y: by },
    };
    const move = moves[event.key];
    if (move)
      setCursor({
        x: Math.min(width, Math.max(0, cursor.x + move.x)),
        y: Math.min(height, Math.max(0, cursor.y + move.y)),
      });
    else if (event.key === " " || event.key === "Enter") keep([...strokes, { tool, size, points: [cursor] }]);
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
  };
  return (
    <div class="mask-editor">
      <div class="row" role="toolbar" aria-label={t("mask")}>
        <button type="button" aria-pressed={tool === "brush"} onClick={() => setTool("brush")}>
          {t("brush")}
        </button>
        <button type="button" aria-pressed={tool === "eraser"} onClick={() => setTool("eraser")}>
          {t("eraser")}
        </button>
        <button type="button" class="quiet" disabled={strokes.length === 0} onClick={undo}>
          {t("undo")}
        </button>
        <button type="button" class="quiet" onClick={() => keep([...strokes, { tool: "invert" }])}>
          {t("invert")}
        </button>
        <button type="button" class="quiet" disabled={strokes.length === 0} onClick={() => keep([])}>
          {t("clear")}
        </button>
      </div>
      <Slider label={t("brushSize")} value={size} min={2} max={256} step={1} onChange={setSize} />
      <div class="layers">
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
          onFocus={(event) => setFocused(event.currentTarget.matches(":focus-visible"))}
          onBlur={() => setFocused(false)}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            drawing.current = { tool, size, points: [at(event)] };
            draw([...strokes, drawing.current]);
          }}
          onPointerMove={(event) => {
            if (!drawing.current) return;
            drawing.current.points.push(at(event));
            draw([...strokes, drawing.current]);
          }}
          onPointerUp={() => {
            if (drawing.current) keep([...strokes, drawing.current]);
            drawing.current = undefined;
          }}
          onPointerCancel={() => {
            drawing.current = undefined;
            draw(strokes);
          }}
        />
      </div>
      <small class="hint">{t("maskKeys")}</small>
    </div>
  );
}

function drawCursor(context: CanvasRenderingContext2D, { x, y }: Point, size: number): void {
  for (const [color, width] of [
    ["black", 3],
    ["white", 1],
  ] as const) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, size / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}
