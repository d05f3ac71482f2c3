import { type Command, Option } from "commander";
import { defaultModels, type Precision, precisions, StableDiffusion } from "../index.js";
import { openProgress } from "./progress.js";
import { type Session, say, sayJson } from "./session.js";

interface OptimizeFlags {
  precision: Precision;
  cacheDir?: string;
}

export function addOptimize(program: Command, session: Session): void {
  program
    .command("optimize [model]")
    .summary("convert a model's weights ahead of time")
    .description(
      "Fills the cache with a model's weights as the networks read them, which the first picture otherwise does. " +
        "What is there already is left alone.",
    )
    .addOption(new Option("--precision <name>", "of the weights").choices(precisions).default(precisions[0]))
    .option("--cache-dir <folder>", "where converted weights are kept")
    .action(async (model: string = defaultModels[0], { precision, cacheDir }: OptimizeFlags) => {
      const progress = openProgress(session);
      const loaded = await StableDiffusion.load(model, {
        precision,
        signal: session.signal,
        onProgress: progress.event,
        ...(cacheDir !== undefined && { cacheDir }),
      });
      try {
        const began = performance.now();
        await loaded.prepare({ signal: session.signal, onProgress: progress.event });
        progress.pause();
        const ms = Math.round(performance.now() - began);
        if (session.json) return sayJson({ type: "done", model, precision, ms });
        say(`${model} is ready in ${precision}  ${(ms / 1000).toFixed(1)} s`);
      } finally {
        progress.pause();
        await loaded.dispose();
      }
    });
}
