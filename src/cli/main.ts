#!/usr/bin/env node
import { Command } from "commander";
import { addConvert } from "./convert.js";
import { addDoctor } from "./doctor.js";
import { addDownload } from "./download.js";
import { exitCodes, reportFailure } from "./failure.js";
import { addGenerate, addShortcuts } from "./generate.js";
import { addModels } from "./models.js";
import { addOptimize } from "./optimize.js";
import { addPngInfo } from "./png-info.js";
import { addSchedulers } from "./schedulers.js";
import { addServe } from "./serve.js";
import { invocation, type Session, version } from "./session.js";
import { addSetup } from "./setup.js";
import { addTokens } from "./tokens.js";
import { addUpscale } from "./upscale.js";
import { addWorker } from "./worker.js";

const examples = `
Examples:
  ${invocation} "a dog with glasses" --seed 7 --count 2 --out dog.png
  ${invocation} "a red car on the street, 3d render" --size 320x192 --out cars/
  ${invocation} --prompt-file prompts.txt --json

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

const interrupt = new AbortController();
const session: Session = {
  // Known before options are read: their errors are reported as JSON, too.
  json: process.argv.includes("--json"),
  debug: process.argv.includes("--debug") || Boolean(process.env.TFJS_DIFFUSION_DEBUG),
  signal: interrupt.signal,
  written: [],
};

const program = new Command("tfjs-diffusion")
  .description("Stable Diffusion on the CPU: pictures from words.")
  .version(version)
  .option("--json", "one JSON object a line on standard output: progress, results, errors")
  .option("--debug", "show where an error comes from (also TFJS_DIFFUSION_DEBUG=1)")
  .addHelpText("after", examples)
  .helpCommand("help [command]", "what a command does, and its options")
  .configureOutput({ outputError() {} }) // failure.ts says it
  .exitOverride();

for (const add of [
  addGenerate,
  addShortcuts,
  addUpscale,
  addServe,
  addWorker,
  addDoctor,
  addSetup,
  addModels,
  addDownload,
  addConvert,
  addOptimize,
  addSchedulers,
  addTokens,
  addPngInfo,
])
  add(program, session);

process.once("SIGINT", () => {
  interrupt.abort();
  // The second one does not wait for the step under way.
  process.once("SIGINT", () => process.exit(exitCodes.interrupted));
});
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader (`| head`) has enough.
  if (error.code === "EPIPE") process.exit(exitCodes.done);
  throw error;
});

// A process that computes does not keep this one alive while it is started or ended; a command under way does.
const underWay = setInterval(() => {}, 2 ** 30);
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, session);
  // The process that computes may be in the middle of a step; it ends by itself when this one is gone.
  if (session.signal.aborted) process.exit();
} finally {
  clearInterval(underWay);
}
