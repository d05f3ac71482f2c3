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
