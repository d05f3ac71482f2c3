import { useRef } from "preact/hooks";
import { broughtTo, settings, sources } from "../settings.js";
import { useModel } from "../settings-form.js";
import { useStore, useWords } from "../store.js";
import { NumberField } from "./fields.js";

type Side = "left" | "right" | "top" | "bottom";
const sides: readonly Side[] = ["left", "top", "right", "bottom"];
const most = 512;
const snapped = (pixels: number): number => Math.min(most, Math.max(0, Math.round(pixels / 8) * 8));

/** The picture in the frame that it will grow to; each side is pulled with the pointer or with arrow keys. */
export function OutpaintFrame() {
  const t = useWords();
  const source = useStore(sources);
  const { image } = source;
  const { width, height } = broughtTo(source, useModel("outpaint")) ?? source;
  const form = useStore(settings);
  const frame = useRef<HTMLDivElement>(null);
  const pulled = useRef<{ side: Side; from: number; at: number; scale: number }>();
  if (!image) return null;
  const total = { width: width + form.left + form.right, height: height + form.top + form.bottom };
  const set = (side: Side, pixels: number) => settings.update({ [side]: snapped(pixels) });
  const outward = (side: Side) => (side === "left" || side === "top" ? -1 : 1);
  const coordinate = (side: Side, event: PointerEvent) =>
    side === "left" || side === "right" ? event.clientX : event.clientY;
  const percent = (part: number, whole: number) => `${(100 * part) / whole}%`;
  const onKeyDown = (side: Side, event: KeyboardEvent) => {
    const by = { ArrowUp: 8, ArrowRight: 8, ArrowDown: -8, ArrowLeft: -8, PageUp: 64, PageDown: -64 }[
      event.key
    ];
    if (by === undefined) return;
    event.preventDefault();
    set(side, form[side] + by);
  };
  return (
    <div class="outpaint">
      <div
        ref={frame}
        class="frame"
        style={{ aspectRatio: `${total.width} / ${total.height}`, "--ratio": total.width / total.height }}
      >
        <img
          src={image}
          alt={t("picture")}
          style={{
            left: percent(form.left, total.width),
            top: percent(form.top, total.height),
            width: percent(width, total.width),
            height: percent(height, total.height),
          }}
        />
        {sides.map((side) => (
          <div
            key={side}
            class={`handle ${side}`}
            role="slider"
            tabIndex={0}
            aria-label={`${t("margins")}: ${t(side)}`}
            aria-orientation={side === "left" || side === "right" ? "horizontal" : "vertical"}
            aria-valuemin={0}
            aria-valuemax={most}
            aria-valuenow={form[side]}
            onKeyDown={(event) => onKeyDown(side, event)}
            onPointerDown={(event) => {
              event.currentTarget.setPointerCapture(event.pointerId);
              // The frame keeps its size on screen while the scale changes: the scale at the start holds.
              const scale = total.width / frame.current!.getBoundingClientRect().width;
              pulled.current = { side, from: form[side], at: coordinate(side, event), scale };
            }}
            onPointerMove={(event) => {
              const { current } = pulled;
              if (current?.side !== side) return;
              const moved = (coordinate(side, event) - current.at) * outward(side);
              set(side, current.from + moved * current.scale);
            }}
            onPointerUp={() => {
              pulled.current = undefined;
            }}
          />
        ))}
      </div>
      <small class="hint">
        {total.width} × {total.height}
      </small>
      <fieldset class="grid">
        <legend>{t("margins")}</legend>
        {sides.map((side) => (
          <NumberField
            key={side}
            label={t(side)}
            value={form[side]}
            min={0}
            max={most}
            step={8}
            onChange={(value) => set(side, value)}
          />
        ))}
      </fieldset>
    </div>
  );
}
