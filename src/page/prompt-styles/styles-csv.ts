import Papa from "papaparse";
import type { Style } from "../../options/styles.js";

/** As the web UI's styles.csv has them. */
export const stylesCsv = (styles: readonly Style[]): string =>
  `\ufeff${Papa.unparse(
    styles.map(({ name, prompt, negativePrompt }) => ({ name, prompt, negative_prompt: negativePrompt })),
    { columns: ["name", "prompt", "negative_prompt"] },
  )}\r\n`;

/** The styles of such a file; undefined for one that has no such columns. */
export function stylesOfCsv(text: string): readonly Style[] | undefined {
  const { data, meta } = Papa.parse<Record<string, string>>(text.replace(/^\ufeff/, ""), {
    header: true,
    skipEmptyLines: true,
    transformHeader: (header) => header.trim(),
  });
  const { fields = [] } = meta;
  if (!fields.includes("name") || !(fields.includes("prompt") || fields.includes("text"))) return undefined;
  return data.flatMap(({ name = "", prompt, text = "", negative_prompt = "" }) =>
    name.trim() === ""
      ? []
      : [{ name: name.trim(), prompt: (prompt ?? text).trim(), negativePrompt: negative_prompt.trim() }],
  );
}
