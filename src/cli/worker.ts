import { type Command, Option } from "commander";
import { collect } from "./arguments.js";
import { addServiceFlags, type ServiceFlags, serviceOptions } from "./flags/service-flags.js";
import { orFromEnv, runService } from "./service.js";
import { type Session, say, sayJson } from "./session.js";

interface Flags extends ServiceFlags {
  readonly queue: string;
  readonly model?: string[];
}

export function addWorker(program: Command, session: Session): void {
  const command = program
    .command("worker")
    .summary("makes pictures for servers that share a queue")
    .description(
      "Takes jobs from a queue in Redis that servers fill (serve --queue), on this machine or another one. Folders and pictures are those of the servers, or copies.",
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
    );
  addServiceFlags(command).action((flags: Flags) => run(flags, session));
}

async function run({ queue, model, ...flags }: Flags, session: Session): Promise<void> {
  const options = serviceOptions(flags, "worker");
  const start = async () => {
    // What a worker needs is loaded for this command only.
    const { startWorker } = await import("../server/worker.js");
    return startWorker({ ...options, queue, ...(model && { model }) });
  };
  await runService(session, {
    graceMs: options.graceMs,
    start,
    started: ({ lanes }) =>
      session.json ? sayJson({ lanes }) : say(`waiting for jobs of ${lanes.join(", ")}  (stop with Ctrl-C)`),
    stopping: "Stopping: what runs is finished first, or given back.",
  });
}
