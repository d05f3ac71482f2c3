/**
 * Writes dist/bundled.js, which bundlers take in place of the library ("module" in package.json's exports; Node.js knows no
 * such condition). A copy in a bundle would lie without its weights, its worker and its native library, and bundlers stop
 * at the native files with words that help nobody. This one ends the program with the line for each bundler.
 */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), "dist");
const names = Object.keys(await import(join(dist, "index.js"))).sort();

const message = "tfjs-diffusion cannot be part of a bundle: it needs its own files and a native library";
const hint = `mark tfjs-diffusion as external, so that it stays in node_modules. ${[
  "esbuild: --external:tfjs-diffusion",
  'webpack: externals: { "tfjs-diffusion": "commonjs tfjs-diffusion" }',
  'Next: serverExternalPackages: ["tfjs-diffusion"]',
].join("; ")}`;

const source = `const refuse = () => {
  const error = new Error(${JSON.stringify(`${message}; ${hint}`)});
  throw Object.assign(error, { name: "DiffusionError", code: "FILE_MISSING", hint: ${JSON.stringify(hint)} });
};
${names.map((name) => `export const ${name} = refuse();`).join("\n")}
`;
writeFileSync(join(dist, "bundled.js"), source);
