import { type Command, InvalidArgumentError, Option } from "commander";
import type { Prediction } from "../options/choices.js";
import { loadOptions } from "../options/load.js";
import { processName } from "../server/queue/process-name.js";
import { flagOf } from "./flags/option-flags.js";
import { type LogFormat, logFlag, serviceLog } from "./log.js";
import { predictionAbout } from "./serve.js";
import { orFromEnv, runService, startTime } from "./service.js";
import { type Session, say, sayJson } from "./session.js";

interface Flags {
  readonly queue: string;
  readonly model?: string[];
  readonly models?: string;
  readonly loraDir?: string;
  readonly embeddingsDir?: string;
  readonly vaeDir?: string;
  readonly controlDir?: string;
  readonly ipAdapterDir?: string;
  readonly taesdDir?: string;
  readonly upscalerDir?: string;
  readonly config?: string;
  readonly prediction?: Prediction;
  readonly data?: string;
  readonly images?: string;
  readonly threads?: number;
  readonly memory?: number;
  readonly hang: number;
  readonly grace: number;
  readonly log: LogFormat;
}

export function addWorker(program: Command, session: Session): void {
  program
    .command("worker")
    .summary("makes pictures for servers that share a queue")
    .description(
      "Takes jobs from a queue in Redis that servers fill (serve --queue), on this machine or another one.",
    )
    .addOption(
      orFromEnv(
        new Option("--queue <url>", "redis://[user:password@]host:port"),
        "TFJS_DIFFUSION_QUEUE",
      ).makeOptionMandatory(),
    )
    .option(
      "--model <model>",
      "a model whose jobs it takes: a name of the server's list, a folder or a file; repeatable (default: the default models, and those of --models)",
      collect,
    )
    .option("--models <folder>", "a folder of models, the same as the server's")
    .addOption(flagOf("config", loadOptions.config))
    .addOption(flagOf("prediction", { ...loadOptions.prediction, about: predictionAbout }))
    .option("--lora-dir <folder>", "LoRAs that prompts can name, as on the server")
    .option(
      "--embeddings-dir <folder>",
      "learned words (textual inversions) that prompts call by their files' names, as on the server",
    )
    .option("--vae-dir <folder>", "autoencoders that can be chosen, as on the server")
    .option("--control-dir <folder>", "ControlNets and T2I-Adapters, as on the server")
    .option("--ip-adapter-dir <folder>", "IP-Adapters, as on the server")
    .option("--taesd-dir <folder>", "small decoders (TAESD) for previews, each called as its model is")
    .option("--upscaler-dir <folder>", "networks that enlarge pictures, as on the server")
    .option("--data <folder>", "where pictures are kept: the same folder as the server's")
    .addOption(
      orFromEnv(
        new Option("--images <url>", "pictures in S3 instead, as on the server: s3://bucket/prefix"),
        "TFJS_DIFFUSION_IMAGES",
      ),
    )
    .option("--threads <number>", "processor threads", wholeNumber)
    .option(
      "--memory <megabytes>",
      "private memory of the process that computes, at most (default: 9/10 of all)",
      wholeNumber,
    )
    .option("--hang <seconds>", "a network's call that takes longer is ended", wholeNumber, 600)
    .option("--grace <seconds>", "what a running job is given at the end", wholeNumber, 30)
    .addOption(logFlag())
    .action((flags: Flags) => run(flags, session));
}

async function run(flags: Flags, session: Session): Promise<void> {
  const { data, images, threads, memory, hang, grace, model, models, queue } = flags;
  const { config, prediction } = flags;
  const { loraDir, embeddingsDir, vaeDir, controlDir, ipAdapterDir, taesdDir, upscalerDir } = flags;
  const graceMs = grace * 1000;
  const name = processName();
  const start = async () => {
    // What a worker needs is loaded for this command only.
    const { startWorker } = await import("../server/worker.js");
    return startWorker({
      queue,
      name,
      startMs: startTime(),
      log: serviceLog(flags.log, "worker", name),
      graceMs,
      load: {
        hangMs: hang * 1000,
        ...(config !== undefined && { config }),
        ...(prediction && { prediction }),
        ...(threads !== undefined && { threads }),
        ...(memory !== undefined && { memoryLimit: memory * 2 ** 20 }),
      },
      ...(model && { model }),
      ...(models && { models }),
      ...(loraDir && { loraDir }),
      ...(embeddingsDir && { embeddingsDir }),
      ...(vaeDir && { vaeDir }),
      ...(controlDir && { controlDir }),
      ...(ipAdapterDir && { ipAdapterDir }),
      ...(taesdDir && { taesdDir }),
      ...(upscalerDir && { upscalerDir }),
      ...(data && { dataDir: data }),
      ...(images && { images }),
    });
  };
  await runService(session, {
    graceMs,
    start,
    started: ({ lanes }) =>
      session.json ? sayJson({ lanes }) : say(`waiting for jobs of ${lanes.join(", ")}  (stop with Ctrl-C)`),
    stopping: "Stopping: what runs is finished first, or given back.",
  });
}

const collect = (value: string, all: readonly string[] = []): string[] => [...all, value];

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`expected a whole number, got ${text}`);
  return Number(text);
}
