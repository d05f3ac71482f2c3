import { type Command, InvalidArgumentError, Option } from "commander";
import type { Prediction } from "../options/choices.js";
import { loadOptions } from "../options/load.js";
import { processName } from "../server/queue/process-name.js";
import { readAge } from "./arguments.js";
import { flagOf } from "./flags/option-flags.js";
import { type LogFormat, logFlag, serviceLog } from "./log.js";
import { orFromEnv, runService, startTime } from "./service.js";
import { invocation, type Session, say, sayJson } from "./session.js";

interface Flags {
  readonly port: number;
  readonly listen?: string;
  readonly auth?: string;
  readonly token?: boolean;
  readonly allowPaths?: boolean;
  readonly allowHost: readonly string[];
  readonly data?: string;
  readonly images?: string;
  readonly models?: string;
  readonly model?: string;
  readonly loraDir?: string;
  readonly embeddingsDir?: string;
  readonly vaeDir?: string;
  readonly controlDir?: string;
  readonly ipAdapterDir?: string;
  readonly taesdDir?: string;
  readonly upscalerDir?: string;
  readonly styles?: string;
  readonly wildcards?: string;
  readonly threads?: number;
  readonly config?: string;
  readonly prediction?: Prediction;
  readonly queue?: string;
  readonly memory?: number;
  readonly hang: number;
  readonly quota?: number;
  readonly keep?: number;
  readonly grace: number;
  readonly log: LogFormat;
}

export const predictionAbout = "what the UNets of its models predict, whatever they say";

export function addServe(program: Command, session: Session): void {
  program
    .command("serve")
    .summary("the web page and the HTTP APIs")
    .description(
      "Opens the web page on http://127.0.0.1:7860, with APIs for clients of AUTOMATIC1111 (/sdapi/v1) and OpenAI (/v1/images).",
    )
    .option("--port <number>", "port to listen on", wholeNumber, 7860)
    .option("--listen <address>", "also for other machines: an address of this one, or 0.0.0.0; needs --auth")
    .option("--auth <user:password>", "who may use it; better TFJS_DIFFUSION_AUTH, which no other user sees")
    .option("--token", "a secret in the page's URL, against other users of this machine")
    .option("--allow-paths", '"Optimize model" takes paths of this machine')
    .option("--allow-host <name:port>", "a further name that the server is asked by; repeatable", collect, [])
    .option("--data <folder>", "where pictures, history and settings are kept")
    .addOption(
      orFromEnv(
        new Option("--images <url>", "pictures in S3 instead: s3://bucket/prefix"),
        "TFJS_DIFFUSION_IMAGES",
      ),
    )
    .option("--models <folder>", "a folder of models to choose from")
    .option("--model <model>", "the model to begin with: a name on the list, a folder or a file")
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
    .option("--wildcards <folder>", "lists that prompts of the page and of POST /jobs draw from: __name__")
    .option("--styles <file>", "styles that requests can name: the web UI's styles.csv")
    .addOption(flagOf("config", loadOptions.config))
    .addOption(flagOf("prediction", { ...loadOptions.prediction, about: predictionAbout }))
    .option("--threads <number>", "processor threads", wholeNumber)
    .option(
      "--memory <megabytes>",
      "private memory of the process that computes, at most (default: 9/10 of all)",
      wholeNumber,
    )
    .option("--hang <seconds>", "a network's call that takes longer is ended", wholeNumber, 600)
    .option("--quota <gigabytes>", "pictures kept in the data folder, at most (default: 32)", wholeNumber)
    .option("--keep <age>", "forget jobs that ended so long ago, and their pictures: 12h, 30d, 8w", readAge)
    .option("--grace <seconds>", "what running jobs are given at the end", wholeNumber, 30)
    .addOption(logFlag())
    .addOption(
      orFromEnv(
        new Option("--queue <url>", "redis://host:port that workers share; no model is loaded here"),
        "TFJS_DIFFUSION_QUEUE",
      ),
    )
    .action((flags: Flags) => run(flags, session));
}

async function run(
  {
    allowHost,
    data,
    threads,
    config,
    memory,
    hang,
    quota,
    keep,
    token,
    prediction,
    grace,
    log,
    ...flags
  }: Flags,
  session: Session,
): Promise<void> {
  // Not an option's default, which the help would show.
  const auth = flags.auth ?? process.env.TFJS_DIFFUSION_AUTH;
  const secret = process.env.TFJS_DIFFUSION_TOKEN || token;
  const graceMs = grace * 1000;
  const name = processName();
  const start = async () => {
    // The server and all that it needs are loaded for this command only.
    const { serve } = await import("../server/main.js");
    return serve({
      ...flags,
      ...(auth && { auth }),
      ...(secret && { token: secret }),
      allowHosts: allowHost,
      graceMs,
      name,
      startMs: startTime(),
      log: serviceLog(log, "server", name),
      ...(data && { dataDir: data }),
      ...(quota !== undefined && { limits: { storedBytes: quota * 2 ** 30 } }),
      ...(keep !== undefined && { keepMs: keep }),
      load: {
        hangMs: hang * 1000,
        ...(memory !== undefined && { memoryLimit: memory * 2 ** 20 }),
        ...(threads !== undefined && { threads }),
        ...(config !== undefined && { config }),
        ...(prediction && { prediction }),
      },
    });
  };
  const what = flags.queue ? "jobs go to the queue" : "the model is being loaded";
  await runService(session, {
    graceMs,
    start,
    started: ({ pageUrl: url }) =>
      session.json ? sayJson({ url }) : say(`${url}  (${what}; stop with Ctrl-C)`),
    stopping: `Stopping: what runs is finished first. Once more Ctrl-C stops at once; ${invocation} serve goes on then.`,
  });
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value];

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`expected a whole number, got ${text}`);
  return Number(text);
}
