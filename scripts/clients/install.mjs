/**
 * Installs the third-party clients that the server is tried with, pinned, into a folder of the machine's temporary one:
 * they are no dependencies of this package. What is there already is taken.
 *
 *   node scripts/clients/install.mjs [--python]   prints the folder
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const clients = {
  npm: [
    "node-sd-webui@0.0.8",
    "stable-diffusion-api@0.0.7",
    "openai@6.49.0",
    "ai@6.0.326",
    "@ai-sdk/openai@3.0.141",
  ],
  python: [
    "webuiapi==0.9.17",
    "sd-backend-client==0.5.0",
    "openai==3.57.0",
    "langchain-community==0.4.2",
    "pillow==13.0.0",
  ],
};

const python = process.argv.includes("--python");
const wanted = python ? clients.python : clients.npm;
const key = createHash("sha256").update(wanted.join(" ")).digest("hex").slice(0, 12);
const folder = join(tmpdir(), `tfjs-diffusion-clients-${process.getuid?.() ?? 0}-${key}`);
const complete = join(folder, "complete");

if (!existsSync(complete)) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (python) installPython();
  else installNpm();
  writeFileSync(complete, "");
}
console.log(folder);

function installNpm() {
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact", ...wanted]);
}

function installPython() {
  run("python3", ["-m", "venv", join(folder, "venv")]);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  run(join(folder, "venv", "bin", "python"), [...pip, ...wanted]);
}

function run(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { cwd: folder, encoding: "utf8" });
  if (status === 0) return;
  rmSync(folder, { recursive: true, force: true });
  console.error(
    `${command} ${args.join(" ")}: ${error?.message ?? stderr.trim().split("\n").slice(-5).join("\n")}`,
  );
  process.exit(1);
}
