import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, serve } from "../src/server/main.js";
import { referencePath } from "../src/testing/golden.js";

/** The shell blocks of README and docs/ are run, as far as they need nothing from elsewhere; of the others every flag is known. */

const root = fileURLToPath(new URL("..", import.meta.url));
mkdirSync(join(root, "out"), { recursive: true });
const work = mkdtempSync(join(root, "out", "docs-")); // where tsx is found
afterAll(() => rmSync(work, { recursive: true, force: true }));

const documents = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const lines = documents.flatMap((path) =>
  [...readFileSync(join(root, path), "utf8").matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block]) =>
    block!
      .replaceAll("\\\n", " ")
      .split("\n")
      .map((line) => ({ path, line: line.trim() })),
  ),
);
/** Each once, however many documents have it. */
const commands = lines
  .filter(({ line }) => line.startsWith("npx tfjs-diffusion "))
  .map(({ path, line }) => ({ path, line: line.replace(/\s+#.*$/, "").replace("npx tfjs-diffusion ", "") }))
  .filter(({ line }, i, all) => all.findIndex((other) => other.line === line) === i);

/** What needs a network, a model of the reader's, another machine, or does not end. */
const isElsewhere = (line: string): boolean =>
  /^(serve|worker|download|optimize|setup|doctor)\b|path\/to|owner\/name|https?:|photos\/|model\.safetensors|models (verify|clean)/.test(
    line,
  );
const draws = (line: string): boolean =>
  !/^(upscale|png-info|schedulers|tokens|models|convert)\b/.test(line) || /^upscale .*--model/.test(line);

const main = join(root, "src/cli/main.ts");
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
/** Asynchronously, as vitest gives a test that blocks its own process up after a minute. */
async function cli(args: readonly string[]) {
  const child = spawn(process.execPath, ["--import", "tsx", main, ...args], {
    cwd: work,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { stdout, stderr, status };
}

beforeAll(() => {
  copyFileSync(referencePath("source.png"), join(work, "dog.png"));
  copyFileSync(referencePath("mask.png"), join(work, "mask.png"));
  writeFileSync(join(work, "prompts.txt"), "a dog\n");
});

test("there are some of both kinds", () => {
  expect(commands.filter(({ line }) => !isElsewhere(line)).length).toBeGreaterThan(8);
  expect(lines.filter(({ line }) => line.startsWith("curl -s")).length).toBeGreaterThan(6);
});

test.each(commands.filter(({ line }) => !isElsewhere(line)))(
  "$path: $line",
  { timeout: 300_000 },
  async ({ line }) => {
    const { status, stderr } = await cli([...wordsOf(line), ...(draws(line) ? ["--steps", "2"] : [])]);
    expect(stderr.match(/^error.*/m)?.[0]).toBeUndefined();
    expect(status).toBe(0);
  },
);

test("every flag of the other commands is one that the command has", { timeout: 300_000 }, async () => {
  const helps = new Map<string, string>();
  for (const { line, path } of commands.filter(({ line }) => isElsewhere(line))) {
    const [first = ""] = wordsOf(line);
    const named = /^(serve|worker|download|optimize|convert|upscale|setup|doctor|models)$/.test(first);
    const command = named ? first : "generate";
    const help = helps.get(command) ?? (await cli(["help", command])).stdout;
    helps.set(command, help);
    for (const flag of line.match(/--[a-z][a-z-]*/g) ?? []) expect(help, `${path}: ${line}`).toContain(flag);
  }
});

describe("curl", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await serve({ port: 0, dataDir: join(work, "data"), page: work, graceMs: 0, log() {} });
  }, 120_000);
  afterAll(() => server.close(), 120_000);

  const all = lines.filter(({ line }) => line.startsWith("curl -s"));
  test.runIf(existsSync("/usr/bin/curl"))("every line is answered", { timeout: 900_000 }, async () => {
    for (const { line, path } of all) {
      // Fewer steps, where the line has a body to say so in.
      const quick = line
        .replace(/("|\\")prompt\1:/, (said) => `${said.replace("prompt", "steps")} 2, ${said}`)
        .replace("-F prompt=", "-F steps=2 -F prompt=");
      const answered = await shell(quick.replaceAll("http://127.0.0.1:7860", server.url.replace(/\/$/, "")));
      const answer = answered.startsWith("{") ? (JSON.parse(answered) as { error?: unknown }) : {};
      expect(answer.error, `${path}: ${line}\n${answered.slice(0, 500)}`).toBeFalsy();
      if (line.includes("/events")) expect(answered).toContain('"status":"completed"');
    }
  });
});

/** Asynchronously, as the server is in this process. */
async function shell(line: string): Promise<string> {
  const { stdout } = await promisify(execFile)("bash", ["-c", line], { cwd: work, maxBuffer: 2 ** 26 });
  return stdout;
}
