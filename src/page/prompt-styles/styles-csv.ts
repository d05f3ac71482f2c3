import Papa from "papaparse";
import { type Style, stylesOfRows } from "../../options/styles.js";

/** As the web UI's styles.csv has them. */
export const stylesCsv = (styles: readonly Style[]): string =>
  `\ufeff${Papa.unparse(
    styles.map(({ name, prompt, negativePrompt }) => ({ name, prompt, negative_prompt: negativePrompt })),
    { columns: ["name", "prompt", "negative_prompt"] },
  )}\r\n`;

/** The styles of such a file; undefined for one that has no such columns. */
export function stylesOfCsv(text: string): readonly Style[] | undefined {
  // papaparse writes to the console about columns that are there twice when it reads the header.
  const { data } = Papa.parse<string[]>(text.replace(/^\ufeff/, ""), { skipEmptyLines: true });
  return stylesOfRows(data).styles;
}
