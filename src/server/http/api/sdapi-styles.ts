import { withStyles } from "../../../options/styles.js";
import type { Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";

/** A request with the words of its styles in its prompts. */
export interface Styled<Body extends Txt2img | Img2img> {
  readonly body: Body;
  /** Styles that there are none of, which the web UI ignores as well. */
  readonly unknown: readonly string[];
}

/** @throws Refusal for prompts that become too long */
export async function styledRequest<Body extends Txt2img | Img2img>(
  body: Body,
  { styles, limits }: Parts,
): Promise<Styled<Body>> {
  const asked = (body.styles ?? []).filter((name) => name !== "" && name !== "None");
  if (asked.length === 0) return { body, unknown: [] };
  const known = new Map((await styles.list()).map((style) => [style.name, style]));
  let prompts = { prompt: body.prompt, negativePrompt: body.negative_prompt };
  for (const name of asked) {
    const style = known.get(name);
    if (style) prompts = withStyles(prompts, [style]);
    // After each: a style that says {prompt} twice doubles it.
    if (prompts.prompt.length + prompts.negativePrompt.length > 2 * limits.promptLength)
      throw new Refusal(422, "TOO_LARGE", "the prompt is too long with its styles", {
        hint: `at most ${limits.promptLength} characters`,
      });
  }
  return {
    body: { ...body, prompt: prompts.prompt, negative_prompt: prompts.negativePrompt },
    unknown: asked.filter((name) => !known.has(name)),
  };
}
