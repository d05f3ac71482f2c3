import { decodeBase64, type ForeignPictures, type Plain } from "../foreign/foreign.js";
import type { GenerateRequest, StoredGenerate } from "../requests/request.js";
import { imageKey } from "../storage/store.js";
import type { Starts } from "./plan.js";

/** Base64, the bytes of a file, or what was made of one. */
export type Picture = string | Uint8Array | Plain;
type Control = NonNullable<GenerateRequest["controlnet"]>[number];

/** Pictures that come with a request; where one may have been decoded already. */
export interface Brought {
  readonly image?: Picture | undefined;
  readonly images?: readonly Picture[] | undefined;
  readonly mask?: Picture | undefined;
  readonly controlnet?:
    | readonly (Omit<Control, "image" | "mask"> & {
        readonly image: Picture;
        readonly mask?: Picture | undefined;
      })[]
    | undefined;
}

interface Taken {
  /** What stands for the pictures in the job. */
  readonly keys: Partial<StoredGenerate>;
  /** Sizes of those that pictures start from. */
  readonly starts: Starts;
  /** To be stored, by key. */
  readonly made: ReadonlyMap<string, Plain>;
}

/**
 * Decodes the pictures of a request, one after the other, after all of their sizes were looked at.
 *
 * @throws Refusal and DiffusionError for what is no picture, or too large a one
 */
export async function takePictures(
  { image, images, mask, controlnet, ipAdapter }: Brought & Pick<GenerateRequest, "ipAdapter">,
  pictures: ForeignPictures,
): Promise<Taken> {
  const controls = (controlnet ?? []).flatMap((control) => [control.image, control.mask]);
  const brought = [image, ...(images ?? []), mask, ...controls];
  const seen = (ipAdapter ?? []).flatMap((prompt) => prompt.image);
  await pictures.checkSizes(
    [...brought, ...seen].flatMap((given) =>
      given === undefined || isPlain(given) ? [] : [() => bytesOf(given)],
    ),
  );
  const made = new Map<string, Plain>();
  const take = async (given: Picture) => {
    const plain = await plainOf(given, pictures);
    const key = imageKey(plain.png);
    made.set(key, plain);
    return { key, width: plain.width, height: plain.height };
  };
  const start = image === undefined ? undefined : await take(image);
  const starts = images && (await inOrder(images, take));
  const keys: Partial<StoredGenerate> = {
    ...(start && { image: start.key }),
    ...(starts && { images: starts.map(({ key }) => key) }),
    ...(mask !== undefined && { mask: (await take(mask)).key }),
    ...(controlnet && {
      controlnet: await inOrder(controlnet, async ({ mask: holes, ...control }) => ({
        ...control,
        image: (await take(control.image)).key,
        ...(holes !== undefined && { mask: (await take(holes)).key }),
      })),
    }),
    ...(ipAdapter && {
      ipAdapter: await inOrder(ipAdapter, async (prompt) => ({
        ...prompt,
        image: (await inOrder([prompt.image].flat(), take)).map(({ key }) => key),
      })),
    }),
  };
  return { keys, starts: { image: start, images: starts }, made };
}

/** One after the other: not all of them are in memory at once. */
async function inOrder<T, Result>(all: readonly T[], work: (one: T) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (const one of all) results.push(await work(one));
  return results;
}

export async function plainOf(given: Picture, pictures: ForeignPictures): Promise<Plain> {
  return isPlain(given) ? given : pictures.make("plain", bytesOf(given));
}

const isPlain = (given: Picture): given is Plain => typeof given !== "string" && "png" in given;
const bytesOf = (given: string | Uint8Array): Uint8Array =>
  typeof given === "string" ? decodeBase64(given) : given;
