import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
/** The cards of the models that come along. */
const cards = readdirSync(join(root, "weights"))
  .map((name) => `weights/${name}/README.md`)
  .filter((path) => existsSync(join(root, path)));

const documents = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "weights/README.md"],
  ...cards,
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

/** The blocks of one language in a document, and the line that each begins at. */
function blocksOf(path: string, language: string): { readonly text: string; readonly line: number }[] {
  const text = readFileSync(join(root, path), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((match) => ({
    text: match[1]!,
    line: text.slice(0, match.index).split("\n").length + 1,
  }));
}

/** What a block may use without saying where it is from: the library, and a loaded model. */
const prelude = (text: string): string => {
  const imports = /from "tfjs-diffusion"/.test(text)
    ? ""
    : 'import { generate, StableDiffusion } from "tfjs-diffusion";';
  const model =
    /\bmodel\b\s*=|\bmodel:/.test(text) && !/\bmodel\./.test(text.split(/model\s*=/)[0]!)
      ? ""
      : "declare const model: StableDiffusion;";
  const type =
    imports || /StableDiffusion/.test(text) ? "" : 'import type { StableDiffusion } from "tfjs-diffusion";';
  return `${imports}${type}${/\bmodel\./.test(text) ? model : ""}`;
};

test("every TypeScript block of the documents fits the library's types", { timeout: 300_000 }, () => {
  const files = new Map<string, string>();
  for (const path of documents)
    for (const { text, line } of blocksOf(path, "ts"))
      files.set(
        join(root, `${path.replace(/\W/g, "-")}-line-${line}.ts`),
        `${prelude(text)}${text}\nexport {};`,
      );
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile) as { config: object };
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [] }, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists(file);
  host.readFile = (file) => files.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) => {
    const text = files.get(file);
    return text === undefined
      ? getSourceFile(file, ...rest)
      : ts.createSourceFile(file, text, ts.ScriptTarget.ES2022);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  const problems = [...files.keys()].flatMap((file) => {
    const source = program.getSourceFile(file)!;
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => `${file.slice(root.length)}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
    );
  });
  expect(files.size).toBeGreaterThan(5);
  expect(problems).toEqual([]);
});

/** What a document links to, as `[words](target)`, `src="target"` and `srcset="target"`. */
const targetsOf = (text: string): string[] =>
  [...text.matchAll(/\]\(([^)\s]+)\)|\bsrc(?:set)?="([^"]+)"/g)]
    .map(([, markdown, html]) => (markdown ?? html)!)
    .filter((target) => !/^https?:/.test(target));

/** The names of its headings, as GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );

test("no link of the documents leads to a file or a heading that is not there", () => {
  const read = (path: string) => readFileSync(path, "utf8");
  const dead = documents.flatMap((path) =>
    targetsOf(read(join(root, path))).flatMap((target) => {
      const [file = "", anchor] = target.split("#");
      const place = file === "" ? join(root, path) : resolve(root, dirname(path), file);
      if (!existsSync(place)) return [`${path}: ${target}`];
      return anchor === undefined || anchorsOf(read(place)).includes(anchor) ? [] : [`${path}: ${target}`];
    }),
  );
  expect(dead).toEqual([]);
});

test("the README is at most 150 lines, its pictures are at most 1 MB, and those of docs/ at most 3 MB", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  expect(readme.trimEnd().split("\n").length).toBeLessThanOrEqual(150);
  const bytes = (paths: Iterable<string>) => [...paths].reduce((sum, path) => sum + statSync(path).size, 0);
  const isPicture = (path: string) => /\.(webp|png)$/.test(path);
  const shown = targetsOf(readme).filter(isPicture);
  expect(bytes(new Set(shown.map((path) => join(root, path))))).toBeLessThan(2 ** 20);
  const all = readdirSync(join(root, "docs"), { recursive: true }) as string[];
  expect(bytes(all.filter(isPicture).map((path) => join(root, "docs", path)))).toBeLessThan(3 * 2 ** 20);
});
