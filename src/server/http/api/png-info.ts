import { parseFields } from "../../../index.js";
import { decodeBase64, type Foreign } from "../../foreign/foreign.js";

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
export async function pngInfo(base64: string, foreign: Foreign): Promise<PngInfo> {
  const text = await foreign.ofRequest().make("texts", decodeBase64(base64));
  const info = text.parameters ?? "";
  return { info, items: text, parameters: info === "" ? {} : parseFields(info) };
}
