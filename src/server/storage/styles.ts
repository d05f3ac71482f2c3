import { readFile } from "node:fs/promises";
import Papa from "papaparse";
import { DiffusionError } from "../../index.js";
import { type Style, stylesOfRows } from "../../options/styles.js";

/** The styles that requests can name. */
export interface Styles {
  /** As the file says now. */
  list(): Promise<readonly Style[]>;
}

/** For servers without a file of styles. */
export const noStyles: Styles = { list: async () => [] };

/**
 * The styles of a CSV file as the web UI writes it: name, prompt (text in the oldest), negative_prompt.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT
 */
export async function openStyles(path: string): Promise<Styles> {
  const list = async () => parseStyles(await read(path), path);
  await list(); // What is wrong with the file is said at the start, not to the first client.
  return { list };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new DiffusionError("FILE_MISSING", `styles: ${path} cannot be read`, {
      cause,
      hint: "--styles takes a CSV file with the columns name, prompt, negative_prompt",
    });
  }
}

/** Of two rows with one name, the later counts. */
function parseStyles(text: string, path: string): readonly Style[] {
  // papaparse writes to the console about columns that are there twice when it reads the header.
  const { data, errors } = Papa.parse<string[]>(text.replace(/^\ufeff/, ""), { skipEmptyLines: true });
  const wrong = (what: string) =>
    new DiffusionError("FILE_FORMAT", `styles: ${path}: ${what}`, {
      hint: "the columns are name, prompt, negative_prompt; texts with commas stand in double quotes",
    });
  const [broken] = errors.filter(({ type }) => type === "Quotes");
  if (broken) throw wrong(`row ${(broken.row ?? 0) + 1}: ${broken.message}`);
  const { columns, styles } = stylesOfRows(data);
  if (!styles)
    throw wrong(`expected the columns name and prompt, found ${columns.join(", ").slice(0, 200) || "none"}`);
  return [...new Map(styles.map((style) => [style.name, style])).values()];
}
