import { parseFields, readImageTexts } from "../../../index.js";
import type { Limits } from "../../requests/limits.js";
import { decodeBase64, readForeign } from "../../storage/images.js";

/** What a PNG, JPEG or WebP says about how it was made, as the web UI's API gives it. */
export interface PngInfo {
  /** The parameters text, "" where there is none. */
  readonly info: string;
  /** Every text of the file. */
  readonly items: Readonly<Record<string, string>>;
  /** The text taken apart, under the web UI's names. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** Of a picture that can be decoded within the limits; others are refused, whatever text they carry. */
export async function pngInfo(base64: string, limits: Limits): Promise<PngInfo> {
  const bytes = decodeBase64(base64);
  await readForeign(bytes, limits);
  const text = await readImageTexts(bytes);
  const info = text.parameters ?? "";
  return { info, items: text, parameters: info === "" ? {} : parseFields(info) };
}
