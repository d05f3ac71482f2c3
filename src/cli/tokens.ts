import type { Command } from "commander";
import { DiffusionError } from "../errors.js";
import { countTokens, defaultModels, describeModel, loadTokenizer } from "../index.js";
import { type Session, say, sayJson } from "./session.js";

export function addTokens(program: Command, session: Session): void {
  program
    .command("tokens <text...>")
    .summary("how many tokens a prompt has")
    .description("Counts the tokens of a prompt as a model's text encoder sees it, and shows them.")
    .option("--model <model>", "whose tokenizer to use", defaultModels[0])
    .action(async (words: string[], { model }: { model: string }) => {
      const prompt = words.join(" ");
      const { name, tokenizer: folder } = await describeModel(model, { signal: session.signal });
      if (!folder) throw new DiffusionError("MODEL_KIND", `${name} has no text encoder`);
      const tokenizer = await loadTokenizer(folder);
      const { tokens, room } = countTokens(prompt, tokenizer);
      const pieces = tokenizer.tokens(prompt).map((id) => ({ id, text: tokenizer.decode([id]) }));
      if (session.json) return sayJson({ prompt, tokens, room, pieces });
      say(`${tokens} of ${room} tokens`);
      if (pieces.length > 0) say(pieces.map(({ text }) => text.trim()).join(" | "));
    });
}
