import { useRef, useState } from "preact/hooks";
import { useWords } from "../store.js";
import type { Before, Shown } from "./viewed.js";

const fits = { stretch: "fill", crop: "cover", fill: "contain", latent: "fill" } as const;

/** Pixels of the screen that a pointer may move in a click. */
const CLICK = 4;

/**
 * A picture, and over it the one that it was made from: the line between them follows the pointer, or arrow keys.
 * At first it stands at the edge, so that the result is seen whole.
 */
export function Layers({
  shown: { image },
  before: { margins, resizeMode = "stretch", url },
  onOpen,
}: {
  readonly shown: Shown;
  readonly before: Before;
  /** What a click without dragging does. */
  readonly onOpen?: () => void;
}) {
  const t = useWords();
  const [share, setShare] = useState(onOpen ? 0 : 50);
  const pressed = useRef({ x: 0, share });
  return (
    <div class="compare" style={{ aspectRatio: `${image.width} / ${image.height}` }}>
      <img class="after" src={image.url} alt={t("after")} draggable={false} />
      <div class="before" style={{ clipPath: `inset(0 ${100 - share}% 0 0)` }}>
        {margins ? (
          <img class="placed" src={url} alt={t("before")} style={placed(margins, image)} />
        ) : (
          <img src={url} alt={t("before")} style={{ objectFit: fits[resizeMode] }} />
        )}
      </div>
      <div class="divider" style={{ left: `${share}%` }} />
      <span class="side left" aria-hidden="true">
        {t("before")}
      </span>
      <span class="side right" aria-hidden="true">
        {t("after")}
      </span>
      {/* As large as the picture: it is dragged on the picture itself. */}
      <input
        type="range"
        class="over"
        min={0}
        max={100}
        step={0.5}
        value={share}
        aria-label={t("compare")}
        onPointerDown={(event) => {
          pressed.current = { x: event.clientX, share };
        }}
        onInput={(event) => setShare(Number(event.currentTarget.value))}
        onClick={(event) => {
          // Keys make no click; a drag ends in one as well.
          if (!onOpen || Math.abs(event.clientX - pressed.current.x) > CLICK) return;
          setShare(pressed.current.share);
          onOpen();
        }}
      />
    </div>
  );
}

function placed(
  { left = 0, right = 0, top = 0, bottom = 0 }: NonNullable<Before["margins"]>,
  { width, height }: Shown["image"],
) {
  const percent = (part: number, whole: number) => `${(100 * part) / whole}%`;
  return {
    left: percent(left, width),
    top: percent(top, height),
    width: percent(width - left - right, width),
    height: percent(height - top - bottom, height),
  };
}
