import { imagePixels } from "../catalog.js";
import { noSources, type Sources, sources } from "../settings.js";
import { useWords } from "../store.js";
import { pictureTypes } from "./file-button.js";
import { decodedImage } from "./mask-strokes.js";
import type { Extent } from "./picture-fit.js";

/** Takes a file as the picture to work on. */
export async function takePicture(file: Blob): Promise<void> {
  sources.set({ ...noSources, ...(await readPicture(file)) });
}

/** A file that is no picture: its name, for words in the reader's language. */
export class WrongFile extends Error {
  override readonly name: string;
  /** What is said: "wrongFile" of another kind, "unreadableFile" of one that is not what it says it is. */
  readonly word: "wrongFile" | "unreadableFile";

  constructor(name: string, word: WrongFile["word"]) {
    super(name);
    this.name = name;
    this.word = word;
  }
}

const isPicture = ({ type }: Blob): boolean => pictureTypes.some((known) => known === type);
const nameOf = (file: Blob): string => (file instanceof File && file.name) || file.type || "?";

/** A file as a data: URL. Pictures that are too large for the server are made smaller here. @throws WrongFile */
export async function readPicture(
  file: Blob,
): Promise<Pick<Sources, "image" | "width" | "height" | "shrunkFrom">> {
  if (!isPicture(file)) throw new WrongFile(nameOf(file), "wrongFile");
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new WrongFile(nameOf(file), "unreadableFile");
  });
  const pixels = bitmap.width * bitmap.height;
  const shrink = Math.min(1, Math.sqrt(imagePixels.get() / pixels));
  const width = Math.max(1, Math.floor(bitmap.width * shrink));
  const height = Math.max(1, Math.floor(bitmap.height * shrink));
  const image = drawn(bitmap, { width, height });
  const { width: across, height: down } = bitmap;
  bitmap.close();
  return { image, width, height, ...(shrink < 1 && { shrunkFrom: { width: across, height: down } }) };
}

function drawn(picture: CanvasImageSource, { width, height }: Extent): string {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  return canvas.toDataURL("image/png");
}

/** The picture at another size. */
export async function resizedPicture(image: string, size: Extent): Promise<string> {
  return drawn(await decodedImage(image), size);
}

/** The first file that is dropped or pasted, a picture if there is one; undefined where there is no file. */
export const fileIn = (data: DataTransfer | null): File | undefined => {
  const files = [...(data?.files ?? [])];
  return files.find(isPicture) ?? files[0];
};

/** What went wrong with a file, in words. */
export function useFileProblem(): (error: unknown) => string {
  const t = useWords();
  return (error) => {
    if (error instanceof WrongFile) return t(error.word, error.name);
    return error instanceof Error ? error.message : String(error);
  };
}
