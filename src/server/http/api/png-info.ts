import { decodePng, parseFields } from "../../../index.js";
import type { Limits } from "../../requests/limits.js";
import { decodeBase64 } from "../../storage/images.js";

/** What a PNG says about how it was made, as the web UI's API gives it. */
export interface PngInfo {
  /** The parameters text, "" where there is none. */
  readonly info: string;
  /** Every text of the file. */
  readonly items: Readonly<Record<string, string>>;
  /** The text taken apart, under the web UI's names. */
  readonly parameters: Readonly<Record<string, string>>;
}

export function pngInfo(base64: string, { imagePixels }: Limits): PngInfo {
  const { text } = decodePng(decodeBase64(base64), { maxPixels: imagePixels });
  const info = text.parameters ?? "";
  return { info, items: text, parameters: info === "" ? {} : parseFields(info) };
}
