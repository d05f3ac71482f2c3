import { useEffect, useState } from "preact/hooks";
import { imagePixels } from "../catalog.js";
import { noSources, type Sources, sources } from "../settings.js";
import { useStore, useWords } from "../store.js";
import { FileButton, pictureTypes } from "./file-button.js";

/** Takes a file as the picture to work on. */
export async function takePicture(file: Blob): Promise<void> {
  sources.set({ ...(await readPicture(file)), mask: "" });
}

/** A file as a data: URL. Pictures that are too large for the server are made smaller here. */
export async function readPicture(file: Blob): Promise<Omit<Sources, "mask">> {
  const bitmap = await createImageBitmap(file);
  const pixels = bitmap.width * bitmap.height;
  const shrink = Math.min(1, Math.sqrt(imagePixels.get() / pixels));
  const width = Math.max(1, Math.floor(bitmap.width * shrink));
  const height = Math.max(1, Math.floor(bitmap.height * shrink));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { image: canvas.toDataURL("image/png"), width, height };
}

export const pictureIn = (data: DataTransfer | null): File | undefined =>
  [...(data?.files ?? [])].find(({ type }) => pictureTypes.some((known) => known === type));

/** Choosing, dropping or pasting the picture to work on. */
export function PictureInput() {
  const t = useWords();
  const { image, width, height } = useStore(sources);
  const [over, setOver] = useState(false);
  const [problem, setProblem] = useState("");
  const take = (file: File | undefined) => {
    if (!file) return;
    takePicture(file).then(
      () => setProblem(""),
      (error: Error) => setProblem(error.message),
    );
  };
  useEffect(() => {
    const paste = (event: ClipboardEvent) => take(pictureIn(event.clipboardData));
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
        take(pictureIn(event.dataTransfer));
      }}
    >
      <div class="row">
        <FileButton label={t("choosePicture")} onFile={take} />
        {image && (
          <button type="button" class="quiet" onClick={() => sources.set(noSources)}>
            {t("removePicture")}
          </button>
        )}
        <small class="hint">{image ? `${width} × ${height}` : t("dropPicture")}</small>
      </div>
      {problem && <p role="alert">{problem}</p>}
    </section>
  );
}

export function PicturePreview() {
  const t = useWords();
  const { image } = useStore(sources);
  return image ? <img class="source" src={image} alt={t("picture")} /> : null;
}
