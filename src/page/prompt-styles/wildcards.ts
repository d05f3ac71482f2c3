import { useEffect } from "preact/hooks";
import { ask } from "../server.js";
import { createStore, useStore } from "../store.js";

/** Names of the server's lists. */
const wildcardNames = createStore<readonly string[]>([]);
let asked = false;

export function useWildcardNames(): readonly string[] {
  useEffect(() => {
    if (asked) return;
    asked = true;
    ask("GET /wildcards").then(
      ({ wildcards }) => wildcardNames.set(wildcards),
      () => {
        asked = false;
      },
    );
  }, []);
  return useStore(wildcardNames);
}

/** Whether prompts leave something to be drawn: `__name__` or `{a|b}`. */
export const usesWildcards = ({
  prompt,
  negativePrompt,
}: {
  readonly prompt: string;
  readonly negativePrompt: string;
}): boolean =>
  [prompt, negativePrompt].some((text) => /__[\p{L}\p{N}]\S*?__|\{[^{}]*[|$][^{}]*\}/u.test(text));
