/** Files from a Python package index: found by PEP 503 or 691, downloaded with resume, checked by hash. */
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { devNull, homedir } from "node:os";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { meter, SetupError, say } from "./report.mjs";

const STALL_MS = 60_000;
const ATTEMPTS = 4;

/** SHA-256 of a file, in hex. */
export async function sha256(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

/** Removes the file and throws when it is not the one that was pinned. */
export async function checkHash(path, expected) {
  const got = await sha256(path);
  if (got === expected) return;
  rmSync(path, { force: true });
  throw new SetupError(
    `${basename(path)} has SHA-256 ${got}, expected ${expected}; the file was deleted`,
    "the download was damaged or the index serves another file: run again, or use another index (PIP_INDEX_URL)",
  );
}

/** Downloads `url` to `path`. What an interrupted run left in `path.part` is continued, not fetched again. */
export async function download(url, path, expectedHash, { attempts = ATTEMPTS, stallMs = STALL_MS } = {}) {
  const part = `${path}.part`;
  const resumed = existsSync(part);
  for (let attempt = 1; ; attempt++) {
    try {
      await fetchInto(url, part, stallMs);
      break;
    } catch (error) {
      if (attempt >= attempts || error instanceof SetupError) throw error;
      say(`download interrupted (${reason(error)}), continuing`);
    }
  }
  try {
    await checkHash(part, expectedHash);
  } catch (error) {
    if (!resumed) throw error;
    say("what an earlier run left does not fit the file: downloading all of it");
    return download(url, path, expectedHash, { attempts, stallMs });
  }
  renameSync(part, path);
}

async function fetchInto(url, part, stallMs) {
  const have = statSync(part, { throwIfNoEntry: false })?.size ?? 0;
  const stall = new AbortController();
  const rearm = () =>
    setTimeout(() => stall.abort(new Error(`nothing received for ${stallMs / 1000} s`)), stallMs);
  let timer = rearm();
  try {
    const response = await request(url, {
      headers: { "accept-encoding": "identity", ...(have > 0 && { range: `bytes=${have}-` }) },
      signal: stall.signal,
    });
    if (response.status === 416) return; // nothing left to send: the hash says whether it is the file
    if (!response.ok) throw new SetupError(`${withoutLogin(url)} answered ${response.status}`);
    const start = response.status === 206 ? have : 0;
    const total = start + Number(response.headers.get("content-length") ?? 0);
    const show = meter("downloading TensorFlow", total);
    let done = start;
    const body = Readable.fromWeb(response.body).map((chunk) => {
      clearTimeout(timer);
      timer = rearm();
      done += chunk.length;
      show(done);
      return chunk;
    });
    await pipeline(body, createWriteStream(part, { flags: start > 0 ? "a" : "w" }));
    if (done < total) throw new Error(`the connection closed after ${done} of ${total} bytes`);
  } finally {
    clearTimeout(timer);
  }
}

/** The address of `filename` among the files of `project` on a package index. */
export async function findOnIndex(index, project, filename) {
  const page = new URL(`${project}/`, index.endsWith("/") ? index : `${index}/`);
  const response = await request(page, {
    headers: { accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5" },
    signal: AbortSignal.timeout(STALL_MS),
  });
  if (!response.ok) throw new SetupError(`${withoutLogin(page)} answered ${response.status}`);
  const isJson = response.headers.get("content-type")?.includes("json");
  const links = isJson
    ? (await response.json()).files.map((file) => file.url)
    : [...(await response.text()).matchAll(/<a\s[^>]*?href="([^"]+)"/g)].map((match) =>
        match[1].replaceAll("&amp;", "&"),
      );
  const addresses = links.map((link) => new URL(link, page));
  const found = addresses.find((address) => basename(decodeURIComponent(address.pathname)) === filename);
  if (!found) throw new SetupError(`${withoutLogin(page)} does not list ${filename}`);
  found.hash = "";
  if (found.origin === page.origin) [found.username, found.password] = [page.username, page.password];
  return found;
}

/** fetch refuses addresses with a login in them; private indexes use them. */
function request(url, init) {
  const { username, password } = new URL(url);
  if (!username) return fetch(url, init);
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString(
    "base64",
  );
  return fetch(withoutLogin(url), { ...init, headers: { ...init.headers, authorization: `Basic ${login}` } });
}

function withoutLogin(url) {
  const clean = new URL(url);
  clean.username = "";
  clean.password = "";
  return clean.href;
}

/** Why a fetch failed: undici hides it in `cause`. */
export const reason = (error) => error.cause?.message || error.cause?.code || error.message;

/** Where Python packages come from unless somebody says otherwise. */
const PYPI = "https://pypi.org/simple";

/** The package index to use without pip: what pip itself would read, in its order; else PyPI. */
export function packageIndex(env = process.env) {
  if (env.PIP_INDEX_URL) return env.PIP_INDEX_URL;
  if (env.PIP_CONFIG_FILE === devNull) return PYPI; // pip's way to say that no file counts
  const home = env.HOME ?? homedir();
  const files = [
    env.PIP_CONFIG_FILE,
    join(home, ".pip", "pip.conf"),
    join(env.XDG_CONFIG_HOME ?? join(home, ".config"), "pip", "pip.conf"),
    env.APPDATA && join(env.APPDATA, "pip", "pip.ini"),
    "/etc/pip.conf",
  ];
  for (const file of files) {
    if (!file || !existsSync(file)) continue;
    const setting = /^\s*index[-_]url\s*[=:]\s*(\S+)/m.exec(readFileSync(file, "utf8"));
    if (setting) return setting[1];
  }
  return PYPI;
}
