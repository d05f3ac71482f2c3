import { type Command, Option } from "commander";
import { collect, readAge, readWholeNumber } from "./arguments.js";
import { addServiceFlags, type ServiceFlags, serviceOptions } from "./flags/service-flags.js";
import { orFromEnv, runService } from "./service.js";
import { invocation, type Session, say, sayJson } from "./session.js";

interface Flags extends ServiceFlags {
  readonly port: number;
  readonly listen?: string;
  readonly auth?: string;
  readonly token?: boolean;
  readonly allowPaths?: boolean;
  readonly allowHost: readonly string[];
  readonly model?: string;
  readonly styles?: string;
  readonly wildcards?: string;
  readonly queue?: string;
  readonly quota?: number;
  readonly keep?: number;
}

export function addServe(program: Command, session: Session): void {
  const command = program
    .command("serve")
    .summary("the web page and the HTTP APIs")
    .description(
      "Opens the web page on http://127.0.0.1:7860, with APIs for clients of AUTOMATIC1111 (/sdapi/v1) and OpenAI (/v1/images).",
    )
    .option("--port <number>", "port to listen on", readWholeNumber, 7860)
    .option("--listen <address>", "also for other machines: an address of this one, or 0.0.0.0; needs --auth")
    .option("--auth <user:password>", "who may use it; better TFJS_DIFFUSION_AUTH, which no other user sees")
    .option("--token", "a secret in the page's URL, against other users of this machine")
    .option("--allow-paths", '"Optimize model" takes paths of this machine')
    .option("--allow-host <name:port>", "a further name that the server is asked by; repeatable", collect, [])
    .option("--model <model>", "the model to begin with: a name on the list, a folder or a file")
    .option("--wildcards <folder>", "lists that prompts draw from by the seed: __name__")
    .option("--styles <file>", "styles that requests can name: the web UI's styles.csv")
    .option("--quota <gigabytes>", "pictures kept in the data folder, at most (default: 32)", readWholeNumber)
    .option("--keep <age>", "forget jobs that ended so long ago, and their pictures: 12h, 30d, 8w", readAge)
    .addOption(
      orFromEnv(
        new Option("--queue <url>", "redis://host:port that workers share; no model is loaded here"),
        "TFJS_DIFFUSION_QUEUE",
      ),
    );
  addServiceFlags(command).action((flags: Flags) => run(flags, session));
}

async function run(flags: Flags, session: Session): Promise<void> {
  // Not an option's default, which the help would show.
  const auth = flags.auth ?? process.env.TFJS_DIFFUSION_AUTH;
  const token = process.env.TFJS_DIFFUSION_TOKEN || flags.token;
  const { port, listen, allowPaths, allowHost, model, styles, wildcards, queue, quota, keep } = flags;
  const options = serviceOptions(flags, "server");
  const start = async () => {
    // The server and all that it needs are loaded for this command only.
    const { serve } = await import("../server/main.js");
    return serve({
      ...options,
      port,
      ...(listen !== undefined && { listen }),
      ...(auth && { auth }),
      ...(token && { token }),
      ...(allowPaths && { allowPaths }),
      allowHosts: allowHost,
      ...(model !== undefined && { model }),
      ...(styles !== undefined && { styles }),
      ...(wildcards !== undefined && { wildcards }),
      ...(queue !== undefined && { queue }),
      ...(quota !== undefined && { limits: { storedBytes: quota * 2 ** 30 } }),
      ...(keep !== undefined && { keepMs: keep }),
    });
  };
  const what = queue !== undefined ? "jobs go to the queue" : "the model is being loaded";
  await runService(session, {
    graceMs: options.graceMs,
    start,
    started: ({ pageUrl: url }) =>
      session.json ? sayJson({ url }) : say(`${url}  (${what}; stop with Ctrl-C)`),
    stopping: `Stopping: what runs is finished first. Once more Ctrl-C stops at once; ${invocation} serve goes on then.`,
  });
}
