/**
 * Draws the same prompts with many settings, so that a model's generation defaults can be chosen by eye:
 *
 *     npx tsx scripts/pictures/settings-sheet.ts sheet.webp --prompts prompts.txt --settings settings.json --pictures out/sheet
 *
 * A prompt is a line; a setting has a name and options of `generate` ("{}" in its `template` stands for the prompt).
 * Every picture is kept in the folder and not drawn again, so that a stopped run goes on; with --only-drawn nothing is
 * drawn, and cells without a picture stay empty. A row of the sheet is a setting, in the order of the file, its name at
 * the left; after --columns prompts, the rows begin anew below.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp, { type OverlayOptions } from "sharp";
import { encodePng, type GenerateOptions, StableDiffusion } from "../../src/index.js";

interface Setting extends GenerateOptions {
  readonly name: string;
  readonly template?: string;
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prompts: { type: "string" },
    settings: { type: "string" },
    pictures: { type: "string", default: "out/settings-sheet" },
    model: { type: "string", default: "emoji-diffusion-256" },
    seed: { type: "string", default: "7" },
    side: { type: "string", default: "128" },
    columns: { type: "string", default: "16" },
    threads: { type: "string" },
    "only-drawn": { type: "boolean", default: false },
  },
});
const [sheet] = positionals;
if (sheet === undefined || flags.prompts === undefined || flags.settings === undefined)
  throw new Error("usage: settings-sheet.ts sheet.webp --prompts file --settings file.json");

const prompts = readFileSync(flags.prompts, "utf8").split("\n").filter(Boolean);
const settings = JSON.parse(readFileSync(flags.settings, "utf8")) as Setting[];
const [seed, side, columns] = [Number(flags.seed), Number(flags.side), Number(flags.columns)];
const label = 180;
const bandHeight = settings.length * side;

const model = await StableDiffusion.load(
  flags.model,
  flags.threads === undefined ? {} : { threads: Number(flags.threads) },
);
const cells: OverlayOptions[] = [];
for (const [index, prompt] of prompts.entries()) {
  const top = Math.floor(index / columns) * bandHeight;
  const left = label + (index % columns) * side;
  const began = performance.now();
  for (const [row, setting] of settings.entries()) {
    const file = await pictureOf(prompt, setting);
    if (file === undefined) continue;
    const input = await sharp(file).resize(side, side).toBuffer();
    cells.push({ input, left, top: top + row * side });
  }
  console.log(`${prompt}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
}
await model.dispose();

const bands = Math.ceil(prompts.length / columns);
for (let band = 0; band < bands; band++)
  for (const [row, { name }] of settings.entries())
    cells.push({ input: captionOf(name), left: 0, top: band * bandHeight + row * side });
const width = label + Math.min(columns, prompts.length) * side;
await sharp({ create: { width, height: bands * bandHeight, channels: 3, background: "white" } })
  .composite(cells)
  .webp({ quality: 80, effort: 6 })
  .toFile(sheet);

/** The file of a prompt's picture with a setting, which is drawn where it is missing and may be. */
async function pictureOf(
  prompt: string,
  { name, template = "{}", ...options }: Setting,
): Promise<string | undefined> {
  const drawn = { seed, ...options };
  const folder = join(flags.pictures, name.replaceAll(/[^\w.-]+/g, "-"));
  const file = join(folder, `${prompt.replaceAll(/\W+/g, "-")}-${drawn.seed}.png`);
  if (existsSync(file)) return file;
  if (flags["only-drawn"]) return undefined;
  mkdirSync(folder, { recursive: true });
  const { images } = await model.generate({ ...drawn, prompt: template.replace("{}", prompt) });
  writeFileSync(file, encodePng(images[0]!));
  return file;
}

/** A setting's name in the margin, each comma beginning a line. */
function captionOf(name: string): Buffer {
  const lines = name
    .split(", ")
    .map(
      (text, i) => `<text x="6" y="${24 + 18 * i}" font-family="sans-serif" font-size="13">${text}</text>`,
    );
  return Buffer.from(`<svg width="${label}" height="${side}">${lines.join("")}</svg>`);
}
