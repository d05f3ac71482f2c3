import { readdirSync, statSync } from "node:fs";
import { basename, extname, join, parse } from "node:path";
import { DiffusionError } from "../errors.js";
import { type Image, readImage } from "../index.js";
import { slug } from "./pictures.js";

/** One picture of a call. */
export interface Job {
  /** What its file is called in a folder, without an ending. */
  readonly name: string;
  readonly prompt?: string;
  /** Paths of the pictures that it starts from. */
  readonly image?: string;
  readonly mask?: string;
}

/**
 * The pictures of a call: `perPrompt` for each prompt and, where `image` is a folder, for each picture in it, which
 * then lends its name. A `mask` that is a folder holds a mask under the name of each picture.
 *
 * @param given.modelName what pictures without a prompt are called
 * @throws DiffusionError FILE_MISSING for folders without pictures, BAD_OPTION for a folder of masks alone
 */
export function jobsOf(
  prompts: readonly string[],
  given: { perPrompt: number; modelName: string; image?: unknown; mask?: unknown },
): Job[] {
  const { perPrompt, modelName, image, mask } = given;
  const said = prompts.map((prompt) => ({ prompt, name: slug(prompt) }));
  const repeat = <T>(items: readonly T[]) => items.flatMap((item) => Array<T>(perPrompt).fill(item));
  if (!isFolder(image)) {
    if (isFolder(mask))
      throw new DiffusionError("BAD_OPTION", `--mask ${mask} is a folder, --image is not`, {
        hint: "give the file of the mask, or folders of both",
      });
    return repeat<Job>(said.length > 0 ? said : [{ name: slug(modelName) }]);
  }
  const masks = isFolder(mask) ? picturesIn(mask) : undefined;
  const jobs = picturesIn(image).flatMap((path): Job[] => {
    const source = { image: path, name: parse(path).name, ...(masks && { mask: maskFor(path, masks) }) };
    if (said.length === 0) return [source];
    return said.map(({ prompt, name }) => ({
      ...source,
      prompt,
      name: said.length > 1 ? `${source.name}-${name}` : source.name,
    }));
  });
  return repeat(jobs);
}

const isFolder = (path: unknown): path is string =>
  typeof path === "string" && (statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false);

const readable = new Set([".png", ".jpg", ".jpeg", ".webp"]);
const { compare } = new Intl.Collator("en", { numeric: true });

/** The pictures that lie in a folder itself, as people count: 2 before 10. */
function picturesIn(folder: string): string[] {
  const names = readdirSync(folder).filter(
    (name) => readable.has(extname(name).toLowerCase()) && !name.startsWith("."),
  );
  const paths = names.sort(compare).map((name) => join(folder, name));
  const pictures = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  if (pictures.length > 0) return pictures;
  throw new DiffusionError("FILE_MISSING", `there is no PNG, JPEG or WebP picture in ${folder}`, {
    hint: "pictures in folders inside it are not looked for",
  });
}

function maskFor(image: string, masks: readonly string[]): string {
  const { name, dir } = parse(image);
  const mask = masks.find((path) => parse(path).name === name);
  if (mask) return mask;
  throw new DiffusionError("FILE_MISSING", `there is no mask for ${basename(image)} of ${dir}`, {
    hint: `a PNG, JPEG or WebP file called ${name} in ${parse(masks[0]!).dir}, or one mask file for all`,
  });
}

/** A rectangle in pixels. */
export interface MaskArea {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * A mask of the size of a picture in which a rectangle is white, in place of a file.
 *
 * @throws DiffusionError BAD_OPTION for one that lies outside of the picture
 */
export async function maskOf({ left, top, width, height }: MaskArea, picture: string): Promise<Image> {
  const whole = await readImage(picture);
  if (left + width > whole.width || top + height > whole.height)
    throw new DiffusionError(
      "BAD_OPTION",
      `--mask-area ${[left, top, width, height]} reaches beyond ${picture}, which is ${whole.width}x${whole.height}`,
    );
  const data = new Uint8Array(3 * whole.width * whole.height);
  for (let y = top; y < top + height; y++) {
    const start = 3 * (y * whole.width + left);
    data.fill(255, start, start + 3 * width);
  }
  return { width: whole.width, height: whole.height, data };
}
