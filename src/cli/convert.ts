import { type Command, Option } from "commander";
import { type Prediction, precisions, predictions } from "../index.js";
import { clipTokenizerFolder, locateModel } from "../pipeline/model-source.js";
import { readModel } from "../runtime/model.js";
import { type StoredPrecision, writeModel } from "../weights/convert-model.js";
import { openModel } from "../weights/model.js";
import { bytesOf } from "./models.js";
import { openProgress } from "./progress.js";
import { type Session, say, sayJson } from "./session.js";
import { bytesInWords } from "./wording.js";

interface ConvertFlags {
  precision: StoredPrecision;
  config?: string;
  prediction?: Prediction;
}

export function addConvert(program: Command, session: Session): void {
  program
    .command("convert <model> <folder>")
    .summary("write a model as a diffusers folder of safetensors")
    .description(
      "Writes a model, whatever it is stored as (single file, pickle, folder), as a diffusers folder with " +
        "safetensors. Not needed to use it: models are loaded as they are.",
    )
    .addOption(
      new Option("--precision <name>", "of the weights that are written")
        .choices(["same", ...precisions])
        .default("same"),
    )
    .option("--config <folder>", "of a single file that says too little: a folder of the same architecture")
    .addOption(
      new Option("--prediction <kind>", "of a single file: what its UNet predicts").choices(predictions),
    )
    .action((model: string, folder: string, flags: ConvertFlags) => convert(session, model, folder, flags));
}

async function convert(
  session: Session,
  model: string,
  folder: string,
  { precision, config, prediction }: ConvertFlags,
): Promise<void> {
  const progress = openProgress(session);
  try {
    const path = await locateModel(model, { signal: session.signal, onProgress: progress.event });
    const source = openModel(path, {
      tokenizer: clipTokenizerFolder(),
      ...(config !== undefined && { config }),
      ...(prediction && { prediction }),
    });
    readModel(source); // strict: a model that could not be loaded is not written either
    writeModel(source, folder, precision, (network, done, total) =>
      progress.event({ type: "convert", network, done, total }),
    );
    progress.pause();
    const bytes = bytesOf(folder);
    if (session.json) return sayJson({ type: "done", folder, bytes });
    say(`${folder}  ${bytesInWords(bytes)}`);
  } finally {
    progress.pause();
  }
}
