import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const documents = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "weights/README.md"],
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

test("no link of the documents leads to a file that is not there", () => {
  const dead = documents.flatMap((path) =>
    [...readFileSync(join(root, path), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, target]) => target!)
      .filter((target) => !existsSync(resolve(root, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  expect(dead).toEqual([]);
});
