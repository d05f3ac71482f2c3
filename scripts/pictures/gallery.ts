/**
 * Makes the pictures of docs/gallery.md with the commands that stand there, and the document itself:
 *
 *     npx tsx scripts/pictures/gallery.ts [folder] [options for every command, such as --steps 1]
 *
 * Without a folder the pictures go into docs/gallery, as WebP, and the README's best ones side by side into
 * docs/pictures.webp and docs/modes.webp.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { galleryDocument, sections } from "./gallery-document.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [folder = join(root, "docs"), ...options] = process.argv.slice(2);
const target = resolve(folder);
mkdirSync(join(root, "out"), { recursive: true });
const work = mkdtempSync(join(root, "out", "gallery-")); // where tsx is found, by the process that computes, too

/** The words of a command line; those in quotation marks stay together. */
const wordsOf = (command: string): string[] =>
  [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);

mkdirSync(join(target, "gallery"), { recursive: true });
for (const { name, command } of sections.flatMap(({ entries }) => entries)) {
  const main = join(root, "src/cli/main.ts");
  const args = ["--import", "tsx", main, ...wordsOf(command), "--out", `${name}.png`, "--quiet", ...options];
  const run = spawnSync(process.execPath, args, {
    cwd: work,
    encoding: "utf8",
  });
  if (run.status !== 0) throw new Error(`${command}: ${run.stderr}`);
  console.log(run.stdout.trim());
  await sharp(join(work, `${name}.png`))
    .webp({ quality: 82, effort: 6 })
    .toFile(join(target, "gallery", `${name}.webp`));
}

await sideBySide(["dog", "panda", "strawberry", "frog", "robot"], "pictures");
await sideBySide(["dog", "cat", "top-hat"], "modes");
writeFileSync(join(target, "gallery.md"), galleryDocument());
rmSync(work, { recursive: true });

/** Pictures of the gallery in a row, 8 pixels between them. */
async function sideBySide(names: readonly string[], file: string): Promise<void> {
  const pictures = names.map((name) => readFileSync(join(work, `${name}.png`)));
  await sharp(pictures, { join: { across: names.length, shim: 8, background: "white" } })
    .webp({ quality: 85, effort: 6 })
    .toFile(join(target, `${file}.webp`));
}
