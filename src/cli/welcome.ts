import { invocation, say } from "./session.js";
import { durationInWords } from "./wording.js";

/** What the program draws without arguments. */
export const welcome = { prompt: "a dog with glasses", seed: 7 } as const;

/** Said before that picture. */
export function sayWelcome(): void {
  say(`Pictures from words, on this machine's CPU. The first one, as if you had typed:

  ${invocation} "${welcome.prompt}" --seed ${welcome.seed}
`);
}

/** What somebody made who gave nothing but a prompt, and three ways on, to be pasted. @param size of the picture */
export function sayNext(made: {
  readonly path: string;
  readonly prompt: string;
  readonly ms: number;
  readonly size: { readonly width: number; readonly height: number };
}): void {
  const { path, prompt, ms, size } = made;
  const file = /^[\w./-]+$/.test(path) ? path : JSON.stringify(path);
  // The upper half: hats are what the model that comes along paints best.
  const area = [0, 0, size.width, Math.round(size.height * 0.45)].join(",");
  const without = prompt.replace(/ (with|wearing) .*/, "");
  const commands = [
    ["serve", "the web page, on http://127.0.0.1:7860"],
    [`"${without} with a top hat" --image ${file} --mask-area ${area}`, "paints a part of it anew"],
    ["unconditional", "another model: butterflies; --model takes yours"],
  ] as const;
  // Above each other, as side by side they are too wide for most terminals.
  const lines = commands.map(([command, what]) => `  # ${what}\n  ${invocation} ${command}\n`);
  say(
    `\n"${prompt}" is in ${path}, after ${durationInWords(ms)}.\nNext, for example:\n\n${lines.join("\n")}`,
  );
  say(`  ${invocation} --help lists all commands,`);
  say("  doctor tells what is installed and what is missing.");
}
