import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

/*
 * The clients as a user installs them: by npm and pip, in projects of their own, every version pinned. They are kept
 * under node_modules/.cache, as an installation takes a minute or more.
 */

const here = fileURLToPath(new URL(".", import.meta.url));
const cache = fileURLToPath(new URL("../../node_modules/.cache/clients", import.meta.url));

/** What starts the examples of a language: the program, and the folder in which they lie. */
export interface Installed {
  readonly program: string;
  readonly folder: string;
}

/** What is not there: a Python, or a registry that answers. */
export class Missing extends Error {}

/** @throws Missing, or Error for an installation that fails otherwise */
export async function installNpm(): Promise<Installed> {
  const from = join(here, "npm");
  const folder = kept("npm", join(from, "package-lock.json"), process.version);
  await onceIn(folder, async () => {
    for (const name of ["package.json", "package-lock.json"]) cpSync(join(from, name), join(folder, name));
    // No scripts: the one of sharp would build what the package that is pinned here brings ready made.
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder);
  });
  // Node looks for packages from where a file lies.
  for (const name of readdirSync(from))
    if (name.endsWith(".mjs")) cpSync(join(from, name), join(folder, name));
  return { program: process.execPath, folder };
}

/** @throws Missing, or Error for an installation that fails otherwise */
export async function installPip(): Promise<Installed> {
  const python = await usablePython();
  const requirements = join(here, "python", "requirements.txt");
  const folder = kept("python", requirements, python.version);
  const program = join(folder, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  await onceIn(folder, async () => {
    await run(python.program, ["-m", "venv", "."], folder);
    // The list is whole, so that nothing has to be resolved; to compile all of it would take longer than to run it.
    const how = [
      "--no-deps",
      "--only-binary",
      ":all:",
      "--no-compile",
      "--disable-pip-version-check",
      "--quiet",
    ];
    await run(program, ["-m", "pip", "install", ...how, "--requirement", requirements], folder);
  });
  return { program, folder: join(here, "python") };
}

/** A folder that is another one when what is installed changes. */
function kept(name: string, list: string, version: string): string {
  const digest = createHash("sha256").update(readFileSync(list)).update(version).digest("hex");
  return join(cache, `${name}-${digest.slice(0, 16)}`);
}

/** Begins anew after an installation that did not come to its end. */
async function onceIn(folder: string, install: () => Promise<void>): Promise<void> {
  const done = join(folder, "installed");
  if (existsSync(done)) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await install();
  writeFileSync(done, "");
}

/** Two of the clients need Python 3.11. */
const oldest = [3, 11] as const;

async function usablePython(): Promise<{ program: string; version: string }> {
  const ask = "import sys, venv, ensurepip; print(*sys.version_info[:3], sep='.')";
  const reasons: string[] = [];
  for (const program of ["python3", "python"]) {
    const version = await run(program, ["-c", ask], here).catch((error: Error) =>
      reasons.push(error.message),
    );
    if (typeof version === "number") continue;
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major === oldest[0] && minor >= oldest[1]) return { program, version };
    reasons.push(`${program} is Python ${version}`);
  }
  throw new Missing(`no Python ${oldest.join(".")} or newer with venv: ${reasons.join("; ")}`);
}

/** How npm and pip say that nobody answers. */
const unreachable =
  /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|Failed to establish a new connection|Temporary failure in name resolution|Name or service not known|(Read|Connect)TimeoutError/;

/** @returns what it prints */
async function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"], shell: false });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  if (code === 0) return stdout.trim();
  const said = `${program} ${args.join(" ")} ended with ${code}:\n${stderr || stdout}`;
  throw unreachable.test(said) ? new Missing(`a registry cannot be reached: ${said}`) : new Error(said);
}
