import { resolve } from "node:path";
import type { Command } from "commander";
import { DiffusionError, nearest } from "../errors.js";
import {
  defaultModelFor,
  defaultModels,
  encodePng,
  type GenerateResult,
  type Image,
  infotext,
  type ProgressEvent,
  seedsOfPicture,
} from "../index.js";
import { addGenerateOptions, type GenerateFlags } from "./flags/generate-flags.js";
import { countOf, optionsOf, seedingOf } from "./flags/options-of-flags.js";
import { makerOf, refinerOf } from "./flags/refiner.js";
import { openFailures } from "./folder-failures.js";
import { jobsOf, maskOf } from "./jobs.js";
import { keepPicture, pictureNames } from "./pictures.js";
import { openPreview } from "./preview.js";
import { openProgress, type Progress } from "./progress.js";
import { readPrompts } from "./prompts.js";
import { invocation, note, type Session, say, sayJson, version } from "./session.js";
import { showPicture } from "./terminal-picture.js";
import { sayNext, sayWelcome, welcome } from "./welcome.js";
import { durationInWords } from "./wording.js";

/** The command that is run when none is named. */
export function addGenerate(program: Command, session: Session): void {
  const command = program
    .command("generate", { isDefault: true })
    .summary("make pictures (the command that is run when none is named)")
    .description("Makes pictures from a prompt, and writes them as PNG.")
    .argument("[prompt...]", 'what to draw; "-" reads prompts from standard input, one picture a line');
  addGenerateOptions(command);
  command.action(async (words: string[], flags: GenerateFlags) => {
    const isNamed = program.args[0] === "generate";
    if (!isNamed) refuseMistypedCommand(words, program);
    const isBare = !isNamed && !session.json && Object.keys(flags).every((name) => name === "preview");
    if (isBare && words.length === 0) {
      sayWelcome();
      await makePictures([welcome.prompt], { ...flags, seed: welcome.seed }, session, sayNext);
      return;
    }
    const prompts = await readPrompts(words, flags.promptFile);
    await makePictures(prompts, flags, session, isBare ? sayNext : undefined);
  });
}

/** Generate under the name of what is wanted: the mode follows from the model and what is given. */
export function addShortcuts(program: Command, session: Session): void {
  const unconditional = program
    .command("unconditional")
    .summary("make pictures with a model that takes no prompt")
    .description("Makes pictures with a model that takes no prompt (default: butterflies-64).");
  addGenerateOptions(unconditional);
  unconditional.action((flags: GenerateFlags) =>
    makePictures([], { ...flags, model: flags.model ?? defaultModels[2] }, session),
  );
}

/** What stands behind a command rather than in a prompt: a file, or a model of the hub. */
const isForCommand = (word: string): boolean => /^\S+\.\w{2,11}$|^[\w.-]+\/[\w.-]+$/.test(word);

/** One word that is nearly a command, alone or before a file, is more likely a typing mistake than a prompt. */
function refuseMistypedCommand(words: readonly string[], program: Command): void {
  const [word, ...others] = words;
  if (word === undefined || word.includes(" ")) return;
  if (others.length > 0 && !others.some(isForCommand)) return;
  const near = nearest(
    word,
    program.commands.map((command) => command.name()),
  );
  if (!near) return;
  throw new DiffusionError("BAD_OPTION", `there is no command ${word}`, {
    hint: `did you mean ${near}? For a picture of it: ${invocation} generate ${words.join(" ")}`,
  });
}

/**
 * Makes and writes one picture after the other, so that what is done stays when a later one is stopped. What is wrong
 * with one picture of a folder does not keep the others from being made, and is said at the end.
 */
export async function makePictures(
  prompts: readonly string[],
  flags: GenerateFlags,
  session: Session,
  sayAfter?: typeof sayNext,
): Promise<void> {
  const options = optionsOf(flags);
  const modelName = nameOf(flags);
  const refiner = refinerOf(flags);
  const maker = makerOf(refiner);
  const { image, mask, maskArea } = flags;
  const jobs = jobsOf(prompts, { perPrompt: countOf(flags), modelName, image, mask });
  const many = jobs[0]!.image !== undefined;
  const names = pictureNames(
    jobs.map(({ name }) => name),
    { out: flags.out, force: flags.force, many },
  );
  const preview =
    typeof flags.preview === "string"
      ? openPreview(flags.preview, { force: flags.force, outputs: names.planned() })
      : undefined;
  const progress = openProgress(session, { pictures: jobs.length, quiet: flags.quiet ?? false });
  const failures = openFailures(session, jobs.length);
  const began = performance.now();
  const seeding = seedingOf(flags);
  try {
    for (const [i, { name, ...own }] of jobs.entries()) {
      progress.begin(i);
      const start = performance.now();
      const make = async () =>
        maker({
          ...options,
          ...own,
          ...(maskArea && { mask: await maskOf(maskArea, String(own.image ?? image)) }),
          ...seedsOfPicture(seeding, i),
          signal: session.signal,
          onProgress: listener(progress, preview?.show),
        });
      const result = many ? await failures.kept(make(), own.image!, i) : await make();
      progress.pause();
      if (!result) continue;
      const text = infotext({
        options: result.options,
        model: modelName,
        ...(refiner && { refiner: { ...refiner, model: lastOf(refiner.model) } }),
        version: `tfjs-diffusion ${version}`,
      });
      const path = keepPicture(names.next(name), encodePng(result.images[0]!, { parameters: text }), session);
      const ms = performance.now() - start;
      report({ session, result, image: i, path, text, ms });
      const picture = result.images[0]!;
      if (!session.json && flags.preview !== false) showPicture(picture);
      if (jobs.length === 1) sayAfter?.({ path, prompt: jobs[0]!.prompt ?? "", ms, size: picture });
    }
  } finally {
    progress.pause();
  }
  const failed = failures.report();
  preview?.keep();
  const images = jobs.length - failed;
  const ms = Math.round(performance.now() - began);
  if (session.json) sayJson({ type: "done", images, ...(failed > 0 && { failed }), ms });
}

/** The model's name as a picture's text has it: no folders, no owner, no extension. */
function nameOf({ model, maskArea, ...rest }: GenerateFlags): string {
  if (model === undefined) return defaultModelFor({ ...rest, ...(maskArea && { mask: "" }) });
  return lastOf(model);
}

function lastOf(model: string): string {
  const last = resolve(model).split(/[/\\]/).at(-1)!;
  return last.replace(/\.(safetensors|ckpt)$/, "");
}

function listener(progress: Progress, show?: (picture: Image) => void) {
  return (event: ProgressEvent) => {
    const [picture] = (event.type === "step" && event.previews) || [];
    if (picture) show?.(picture);
    progress.event(event);
  };
}

function report(made: {
  readonly session: Session;
  readonly result: GenerateResult;
  readonly image: number;
  readonly path: string;
  readonly text: string;
  readonly ms: number;
}): void {
  const { session, result, image, path, text, ms } = made;
  const [seed] = result.seeds;
  const { width, height } = result.images[0]!;
  if (!session.json) {
    say(`${path}  seed ${seed}  ${width}x${height}  ${durationInWords(ms)}`);
    for (const text of result.notes) note(`note: ${text}`);
    return;
  }
  const parts = Object.entries(result.ms).map(([name, value]) => [name, Math.round(value)]);
  sayJson({
    type: "image",
    image,
    path: resolve(path),
    seed,
    width,
    height,
    ms: { total: Math.round(ms), ...Object.fromEntries(parts) },
    ...(result.notes.length > 0 && { notes: result.notes }),
    parameters: text,
  });
}
