import { type Style, withStyles } from "../../options/styles.js";
import { ask } from "../server.js";
import { createStore, rememberedStore } from "../store.js";
import { ownStyles } from "./own-styles.js";

/** Names of those that are chosen, in their order, and those that somebody saved in this browser. */
export const styleChoice = rememberedStore<{
  readonly chosen: readonly string[];
  readonly saved: readonly Style[];
}>("styles", { chosen: [], saved: [] });

/** Those of the server's file. */
export const servedStyles = createStore<readonly Style[]>([]);

export async function loadStyles(): Promise<void> {
  servedStyles.set((await ask("GET /styles")).styles);
}

/** All that can be chosen; of two with one name the browser's own, then the server's. */
export const allStyles = (saved: readonly Style[], served: readonly Style[]): readonly Style[] => [
  ...new Map([...ownStyles, ...served, ...saved].map((style) => [style.name, style])).values(),
];

interface Prompts {
  readonly prompt: string;
  readonly negativePrompt: string;
}

/** What is sent: the prompts with the words of the chosen styles. */
export function styled<Form extends Prompts>(form: Form): Form {
  const { chosen, saved } = styleChoice.get();
  const known = allStyles(saved, servedStyles.get());
  const styles = chosen.flatMap((name) => known.find((style) => style.name === name) ?? []);
  const { prompt, negativePrompt } = form;
  return styles.length === 0 ? form : { ...form, ...withStyles({ prompt, negativePrompt }, styles) };
}

/** Prompts that come back from a picture hold the words of its styles already. */
export const chooseNoStyles = (): void => styleChoice.update({ chosen: [] });

export function saveStyle(style: Style): void {
  const { saved } = styleChoice.get();
  styleChoice.update({ saved: [...saved.filter(({ name }) => name !== style.name), style] });
}

export function forgetStyle(name: string): void {
  const { saved, chosen } = styleChoice.get();
  styleChoice.set({
    saved: saved.filter((style) => style.name !== name),
    chosen: chosen.filter((one) => one !== name),
  });
}
