import { type Command, Option } from "commander";
import type { Prediction } from "../../options/choices.js";
import { loadOptions } from "../../options/load.js";
import type { AdapterFolders } from "../../server/jobs/adapter-files.js";
import { processName } from "../../server/queue/process-name.js";
import type { ServiceOptions } from "../../server/service-options.js";
import { readWholeNumber } from "../arguments.js";
import { type LogFormat, logFlag, serviceLog } from "../log.js";
import { orFromEnv, startTime } from "../service.js";
import { flagOf } from "./option-flags.js";

/** What `serve` and `worker` take alike. */
export interface ServiceFlags extends AdapterFolders {
  readonly models?: string;
  readonly data?: string;
  readonly images?: string;
  readonly config?: string;
  readonly prediction?: Prediction;
  readonly threads?: number;
  readonly memory?: number;
  readonly hang: number;
  readonly grace: number;
  readonly log: LogFormat;
}

const predictionAbout = "what the UNets of its models predict, whatever they say";

/** The flags that `serviceOptions` reads. */
export const addServiceFlags = (command: Command): Command =>
  command
    .option(
      "--data <folder>",
      "where pictures, history and settings are kept; one for all that share a queue",
    )
    .addOption(
      orFromEnv(
        new Option("--images <url>", "pictures in S3 instead: s3://bucket/prefix"),
        "TFJS_DIFFUSION_IMAGES",
      ),
    )
    .option("--models <folder>", "a folder of models to choose from")
    .option("--lora-dir <folder>", "LoRAs that prompts can name: <lora:name:0.8>")
    .option(
      "--embeddings-dir <folder>",
      "learned words (textual inversions) that prompts call by their files' names",
    )
    .option("--vae-dir <folder>", "autoencoders that clients of /sdapi/v1 can choose (sd_vae)")
    .option(
      "--control-dir <folder>",
      "ControlNets and T2I-Adapters (diffusers folders) that requests can name",
    )
    .option(
      "--ip-adapter-dir <folder>",
      "IP-Adapters that requests can name, each with image_encoder beside it",
    )
    .option("--taesd-dir <folder>", "small decoders (TAESD) for previews, each called as its model is")
    .option(
      "--upscaler-dir <folder>",
      "ESRGAN and SRVGGNetCompact (.pth, .safetensors) that requests can name",
    )
    .addOption(flagOf("config", loadOptions.config))
    .addOption(flagOf("prediction", { ...loadOptions.prediction, about: predictionAbout }))
    .option("--threads <number>", "processor threads", readWholeNumber)
    .option(
      "--memory <megabytes>",
      "private memory of the process that computes, at most (default: 9/10 of all)",
      readWholeNumber,
    )
    .option("--hang <seconds>", "a network's call that takes longer is ended", readWholeNumber, 600)
    .option("--grace <seconds>", "what running jobs are given at the end", readWholeNumber, 30)
    .addOption(logFlag());

/** What the flags say, for a process that is called by a name of its own. */
export function serviceOptions(
  { data, images, models, config, prediction, threads, memory, hang, grace, log, ...flags }: ServiceFlags,
  process: "server" | "worker",
) {
  const name = processName();
  const { loraDir, embeddingsDir, vaeDir, controlDir, ipAdapterDir, taesdDir, upscalerDir } = flags;
  return {
    ...{ loraDir, embeddingsDir, vaeDir, controlDir, ipAdapterDir, taesdDir, upscalerDir },
    ...(models !== undefined && { models }),
    ...(data && { dataDir: data }),
    ...(images !== undefined && { images }),
    load: {
      hangMs: hang * 1000,
      ...(config !== undefined && { config }),
      ...(prediction && { prediction }),
      ...(threads !== undefined && { threads }),
      ...(memory !== undefined && { memoryLimit: memory * 2 ** 20 }),
    },
    graceMs: grace * 1000,
    startMs: startTime(),
    name,
    log: serviceLog(log, process, name),
  } satisfies ServiceOptions;
}
