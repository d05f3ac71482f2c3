/**
 * tfjs-node where the package manager has left it out. It is an optional dependency, so that its own install script
 * cannot fail an installation; yarn 1 then removes the package whose script failed, and `--omit=optional` skips it.
 */
import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { npm } from "./packages.mjs";
import { SetupError, timed } from "./report.mjs";
import { errorLine } from "./run.mjs";

/** The package as its authors published it, in npm's own notation. */
const INTEGRITY =
  "sha512-uHrXeUlfgkMxTZqHkESSV7zSdKdV0LlsBeblqkuKU9nnfxB1pC6DtoyYVaLxznzZy7WQSegjcohxxCjAf6Dc7w==";
const NAME = "@tensorflow/tfjs-node";

export function hasTfjsNode(root) {
  try {
    createRequire(join(root, "package.json")).resolve(`${NAME}/package.json`);
    return true;
  } catch {
    return false;
  }
}

/** Puts the package into a folder of our own, where `require` looks first. Its install script is not run. */
export async function restoreTfjsNode(root) {
  const { optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const version = optionalDependencies[NAME];
  const place = join(root, "node_modules", NAME);
  mkdirSync(dirname(place), { recursive: true });
  const scratch = mkdtempSync(join(root, "node_modules", ".restore-"));
  try {
    const tarball = await timed(`fetching ${NAME} ${version}, which was left out`, () =>
      fetchTarball(root, version, scratch),
    );
    for (const [name, content] of tarEntries(gunzipSync(tarball))) {
      const path = join(scratch, "package", name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
    rmSync(place, { recursive: true, force: true });
    renameSync(join(scratch, "package"), place);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  checkDependencies(place, version);
}

async function fetchTarball(root, version, folder) {
  const args = ["pack", `${NAME}@${version}`, "--silent", "--ignore-scripts", "--pack-destination", folder];
  const { status, output } = await npm(root, args);
  const file = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  if (status !== 0 || !file)
    throw new SetupError(`npm pack ${NAME}@${version} failed: ${errorLine(output)}`, byHand(version));
  const tarball = readFileSync(join(folder, file));
  checkIntegrity(tarball, INTEGRITY, `${NAME} ${version}`);
  return tarball;
}

const byHand = (version) =>
  `add it to your project without its install script (npm install --ignore-scripts ${NAME}@${version}), and run again`;

/** Throws when the bytes are not those that were pinned. */
export function checkIntegrity(bytes, expected, what) {
  const got = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
  if (got !== expected)
    throw new SetupError(
      `${what} has ${got}, expected ${expected}`,
      "the registry serves another file: use another one",
    );
}

/** What the package itself needs must have been installed beside it. */
function checkDependencies(place, version) {
  const require = createRequire(join(place, "package.json"));
  for (const name of ["@tensorflow/tfjs", "google-protobuf", "@mapbox/node-pre-gyp"])
    try {
      require.resolve(`${name}/package.json`);
    } catch {
      throw new SetupError(`${NAME} needs ${name}, which is not installed`, byHand(version));
    }
}

const BLOCK = 512;

/**
 * Name and content of the files in a tar of npm's, without its leading folder. Folders and extended headers are passed
 * over: names of more than 100 characters have a prefix in the header itself (POSIX.1-1988, ustar).
 */
export function* tarEntries(tar) {
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0; ) {
    const text = (start, length) =>
      tar.toString("utf8", at + start, at + start + length).replace(/\0.*$/s, "");
    const size = Number.parseInt(text(124, 12), 8);
    const [name, prefix, kind] = [text(0, 100), text(345, 155), text(156, 1)];
    const path = (prefix ? `${prefix}/${name}` : name).split("/").slice(1);
    if (path.includes("..")) throw new SetupError(`the archive has a file ${path.join("/")}`);
    at += BLOCK;
    if (kind === "" || kind === "0") yield [join(...path), tar.subarray(at, at + size)];
    at += Math.ceil(size / BLOCK) * BLOCK;
  }
}
