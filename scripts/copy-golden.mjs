/**
 * Makes src/testing/golden, the small copy of the reference values that comes with a clone, out of the full set:
 *
 *   node scripts/copy-golden.mjs ../shared/golden
 *
 * Some models are left out, and of the cases that are alike some are kept, so that each kind still has several.
 * The same input gives the same bytes. What is left out is listed in the copy's index.json; tests that ask for it
 * are skipped (src/testing/golden.ts).
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("..", import.meta.url));
const target = join(repository, "src/testing/golden");

/** Folders and files that are left out, with every case that needs them. */
const omitted = [
  "models/tiny-sd2",
  "models/tiny-sdxl",
  "models/tiny-sd1-inpaint",
  "models/tiny-lcm",
  "models/tiny-ip2p",
  "models/tiny-x4-upscaler",
  "models/tiny-ddpm",
  "models/tiny-sd1-fp16",
  "models/tiny-sd1-sharded-unet",
  "singlefile/tiny-sd2.safetensors",
  "adapters/lora-kohya-sdxl.safetensors",
  "pipelines/ldm-sr-pil.safetensors",
];
/** What the repository holds anyway. */
const elsewhere = { "tokenizers/tokenizer-clip": "weights/clip-tokenizer" };

/** Cases that have no others like them in their group. */
const always = ["pipeline/sd1-taesd", "pipeline/sd1-long-prompt"];

/** How many cases of a group are kept, spread evenly; of other kinds all. */
const most = { scheduler: 6, pipeline: 3, module: 10, unet: 2, clip: 2, "vae-encode": 1, "vae-decode": 1 };
const ofComponent = ({ config }) => `${config.model} ${config.component}`;
const groupOf = {
  scheduler: ({ config }) => config.scheduler,
  pipeline: ({ config }) => `${config.pipeline} ${config.model}`,
  module: ofComponent,
  unet: ofComponent,
  clip: ofComponent,
  "vae-encode": ofComponent,
  "vae-decode": ofComponent,
};

const isOmitted = (path) => omitted.some((left) => path === left || path.startsWith(`${left}/`));

/** Every text in a case; paths among them say what it needs. */
const textsOf = (value) => {
  if (typeof value === "string") return [value];
  return value && typeof value === "object" ? Object.values(value).flatMap(textsOf) : [];
};

function chosen(cases) {
  const whole = cases.filter((c) => !textsOf([c.files, c.config, c.inputs]).some(isOmitted));
  const groups = whole.reduce((map, c) => map.set(keyOf(c), [...(map.get(keyOf(c)) ?? []), c]), new Map());
  const kept = new Set();
  for (const group of groups.values()) {
    const count = Math.min(group.length, most[group[0].kind] ?? group.length);
    for (let i = 0; i < count; i++) kept.add(group[Math.floor((i * group.length) / count)]);
  }
  return whole.filter((c) => kept.has(c) || always.includes(c.id));
}

const keyOf = (c) => `${c.kind} ${groupOf[c.kind]?.(c) ?? ""}`;

/** Tensor references { file, key } anywhere in a case. */
function references(value) {
  if (!value || typeof value !== "object") return [];
  if (typeof value.file === "string" && typeof value.key === "string") return [value];
  return Object.values(value).flatMap(references);
}

/** The file with the tensors of `keys` alone, in the order that they stand in. */
function thinned(bytes, keys) {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const data = bytes.subarray(8 + length);
  const parts = [];
  const kept = {};
  let offset = 0;
  const inOrder = Object.entries(header).sort(
    (a, b) => (a[1].data_offsets?.[0] ?? 0) - (b[1].data_offsets?.[0] ?? 0),
  );
  for (const [name, entry] of inOrder) {
    if (name === "__metadata__") kept[name] = entry;
    else if (keys.has(name)) {
      const part = data.subarray(...entry.data_offsets);
      kept[name] = { ...entry, data_offsets: [offset, offset + part.length] };
      parts.push(part);
      offset += part.length;
    }
  }
  const text = JSON.stringify(kept);
  const padded = Buffer.from(text + " ".repeat((8 - (text.length % 8)) % 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([size, padded, ...parts]);
}

function copy(source) {
  const text = readFileSync(join(source, "index.json"), "utf8");
  const index = JSON.parse(text);
  const cases = chosen(index.cases);
  const needed = new Set(cases.flatMap(({ files }) => files));
  const known = new Set(index.cases.flatMap(({ files }) => files));
  const keys = new Map();
  for (const { file, key } of references(cases)) keys.set(file, (keys.get(file) ?? new Set()).add(key));
  rmSync(target, { recursive: true, force: true });
  const all = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(source, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
  for (const path of all) {
    const isElsewhere = Object.keys(elsewhere).some((folder) => path.startsWith(`${folder}/`));
    // Files that no case lists belong to a folder that one does: a tokenizer, a model's parts.
    if (isOmitted(path) || isElsewhere || path === "index.json") continue;
    if (known.has(path) && !needed.has(path)) continue;
    mkdirSync(dirname(join(target, path)), { recursive: true });
    // Files with loose tensors; models are opened as they are, and bad files must stay bad.
    if (keys.has(path) && !/^(models|bad|adapters\/(?!.*expected)|singlefile\/tiny)/.test(path))
      writeFileSync(join(target, path), thinned(readFileSync(join(source, path)), keys.get(path)));
    else cpSync(join(source, path), join(target, path));
  }
  // Lines as they stand: JSON.stringify would lose negative zeros.
  const lines = text.split("\n").filter((line) => line.trimStart().startsWith('{"id"'));
  const kept = lines.filter((_, i) => cases.includes(index.cases[i])).map((line) => line.replace(/,$/, ""));
  const { cases: _, ...about } = index;
  const head = JSON.stringify({ ...about, copy: { omitted, elsewhere } });
  writeFileSync(join(target, "index.json"), `${head.slice(0, -1)},\n"cases": [\n${kept.join(",\n")}\n]}\n`);
  const readme = readFileSync(join(source, "README.md"), "utf8");
  const [title, ...rest] = readme.split("\n");
  const note = `This is the small copy, ${cases.length} of ${index.cases.length} cases, made by scripts/copy-golden.mjs. Counts below are those of the whole set.`;
  writeFileSync(join(target, "README.md"), [title, "", note, ...rest].join("\n"));
  console.log(`${cases.length} of ${index.cases.length} cases`);
}

copy(process.argv[2] ?? join(repository, "../shared/golden"));
