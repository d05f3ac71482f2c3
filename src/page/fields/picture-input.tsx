import { useEffect, useState } from "preact/hooks";
import { broughtTo, type Mode, noSources, settings, sources } from "../settings.js";
import { useModel } from "../settings-form.js";
import { useStore, useWords } from "../store.js";
import { FileButton } from "./file-button.js";
import { fileIn, takePicture, useFileProblem } from "./picture-file.js";
import { type Extent, isLarge } from "./picture-fit.js";

const pixels = ({ width, height }: Extent): string => `${width} × ${height}`;

/** Choosing, dropping or pasting the picture to work on. */
export function PictureInput({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const { image, width, height, shrunkFrom } = useStore(sources);
  const [over, setOver] = useState(false);
  const [problem, setProblem] = useState("");
  const inWords = useFileProblem();
  const take = (file: File | undefined) => {
    if (!file) return;
    takePicture(file).then(
      () => setProblem(""),
      (error: unknown) => setProblem(inWords(error)),
    );
  };
  useEffect(() => {
    const paste = (event: ClipboardEvent) => take(fileIn(event.clipboardData));
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  });
  return (
    <section
      class={`picture-input ${over ? "over" : ""}`}
      aria-label={t("picture")}
      onDragOver={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setOver(false);
        take(fileIn(event.dataTransfer));
      }}
    >
      <div class="row">
        <FileButton label={t("choosePicture")} onFile={take} />
        {image && (
          <button type="button" class="quiet" onClick={() => sources.set(noSources)}>
            {t("removePicture")}
          </button>
        )}
        <small class={`hint ${shrunkFrom ? "shrunk" : ""}`}>
          {!image
            ? t("dropPicture")
            : shrunkFrom
              ? t("shrunk", pixels({ width, height }), pixels(shrunkFrom))
              : pixels({ width, height })}
        </small>
      </div>
      {problem && <p role="alert">{problem}</p>}
      {image && mode !== "upscale" && <LargePicture mode={mode} />}
    </section>
  );
}

/** What happens to a picture that is larger than the model draws well, and the other way. */
function LargePicture({ mode }: { readonly mode: Mode }) {
  const t = useWords();
  const source = useStore(sources);
  const { imageWidth, imageHeight } = useStore(settings);
  const model = useModel(mode);
  if (!isLarge(source, model) || (mode !== "outpaint" && (imageWidth > 0 || imageHeight > 0))) return null;
  const brought = broughtTo(source, model);
  const { size = 512 } = model ?? {};
  const said = !brought
    ? t("ownSizeUsed", pixels(source))
    : mode === "inpaint"
      ? t("largeMasked", pixels(source), pixels({ width: size, height: size }))
      : t("largePicture", pixels(source), pixels(brought));
  return (
    <p class="large-picture" role="status">
      {said}{" "}
      <button type="button" class="link" onClick={() => sources.update({ ownSize: brought !== undefined })}>
        {t(brought ? "keepOwnSize" : "useModelSize")}
      </button>
    </p>
  );
}

export function PicturePreview() {
  const t = useWords();
  const { image } = useStore(sources);
  return image ? <img class="source" src={image} alt={t("picture")} /> : null;
}
