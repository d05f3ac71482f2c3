/** A style of the web UI: words that are laid around a prompt. */
export interface Style {
  readonly name: string;
  /** With {prompt} where the prompt goes; else the words stand behind it. */
  readonly prompt: string;
  readonly negativePrompt: string;
}

/** A prompt and what it is to avoid. */
interface Prompts {
  readonly prompt: string;
  readonly negativePrompt: string;
}

/** The prompts with the words of each style, one style after the other (`modules/styles.py` of the web UI). */
export const withStyles = (prompts: Prompts, styles: readonly Style[]): Prompts =>
  styles.reduce(
    (so, style) => ({
      prompt: merged(style.prompt, so.prompt),
      negativePrompt: merged(style.negativePrompt, so.negativePrompt),
    }),
    prompts,
  );

function merged(words: string, prompt: string): string {
  if (words.includes("{prompt}")) return words.replaceAll("{prompt}", () => prompt);
  return [prompt, words]
    .map((text) => text.trim())
    .filter(Boolean)
    .join(", ");
}

/**
 * The styles of the rows of the web UI's `styles.csv`, of which the first names the columns: name, prompt (text in the
 * oldest), negative_prompt. Of two columns with one name the first counts; rows without a name are none.
 */
export function stylesOfRows([head = [], ...rows]: readonly (readonly string[])[]): {
  readonly columns: readonly string[];
  /** Undefined where the columns are not there. */
  readonly styles: readonly Style[] | undefined;
} {
  const columns = head.map((column) => column.trim());
  const at = (column: string) => columns.indexOf(column);
  const prompt = at("prompt") >= 0 ? at("prompt") : at("text");
  if (at("name") < 0 || prompt < 0) return { columns, styles: undefined };
  const styles = rows
    .map((row) => ({
      name: row[at("name")]?.trim() ?? "",
      prompt: row[prompt]?.trim() ?? "",
      negativePrompt: row[at("negative_prompt")]?.trim() ?? "",
    }))
    .filter(({ name }) => name !== "");
  return { columns, styles };
}
