/** TensorFlow's C library, taken from the wheel that is published for Python, in a cache shared by all projects. */
import { existsSync, mkdirSync, renameSync, rmSync, statfsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { checkHash, download, findOnIndex, packageIndex, reason } from "./download.mjs";
import { megabytes, meter, SetupError, say, timed } from "./report.mjs";
import { errorLine, run } from "./run.mjs";
import { firstForged, isUnchanged } from "./verify.mjs";
import { extractEntry, zipEntries } from "./zip.mjs";

export const TENSORFLOW = "2.18.1";

const LINUX = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"];
const MAC = ["libtensorflow_cc.2.dylib", "libtensorflow_framework.2.dylib"];

/**
 * Where TensorFlow's authors publish a wheel with the C library. The Python version in the name plays no role; the hashes
 * of the unpacked libraries are those of the wheel's own RECORD.
 */
const WHEELS = {
  "linux-x64": {
    project: "tensorflow-cpu",
    file: "tensorflow_cpu-2.18.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "810c75d7149d2da0cb2092187817b0dcabb80728ca9f9cf3a61f3f42fadd1298",
    platform: "manylinux_2_17_x86_64",
    libraries: LINUX,
    hashes: {
      "lib/libtensorflow_cc.so.2": "2f274b53cb45231acf63aa4a60d2e9417e18d3f6c5237d0eb113948e851bd425",
      "lib/libtensorflow_framework.so.2": "c8dbe0f4a072f239418f513d87d0bfddb9f403b7fc93a3d11d17d6e99db26a83",
    },
  },
  "linux-arm64": {
    project: "tensorflow",
    file: "tensorflow-2.18.1-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
    sha256: "8a6485edd2148f70d011dbd1d8dc2c775e91774a5a159466e83d0d1f21580944",
    platform: "manylinux_2_17_aarch64",
    libraries: LINUX,
    hashes: {
      "lib/libtensorflow_cc.so.2": "6ecb9213687afc566f94278a230fe3aab7274998a6d0ab8a1dac26fe99ade1a2",
      "lib/libtensorflow_framework.so.2": "d129dd9371ee26d461f5ad006cf7024ca03794ef046edc64fb7d8c3c5738fc8e",
    },
  },
  "darwin-arm64": {
    project: "tensorflow",
    file: "tensorflow-2.18.1-cp311-cp311-macosx_12_0_arm64.whl",
    sha256: "661029cd769b311db910b79a3a6ef50a5a61ecc947172228c777a49989722508",
    platform: "macosx_12_0_arm64",
    libraries: MAC,
    hashes: {
      "lib/libtensorflow_cc.2.dylib": "2a4abace7bc18843ff64f3be7065dcc11ae121979c878fb768964cb3c3de86b4",
      "lib/libtensorflow_framework.2.dylib":
        "f47019178f370c58338251389c734126b921615c91fb14e3315ba0b23f1354d0",
    },
  },
};

/** The headers that tfjs-node's addon includes, directly or through each other. */
const HEADERS = [
  "tensorflow/c/c_api.h",
  "tensorflow/c/c_api_macros.h",
  "tensorflow/c/eager/c_api.h",
  "tensorflow/c/tf_attrtype.h",
  "tensorflow/c/tf_buffer.h",
  "tensorflow/c/tf_datatype.h",
  "tensorflow/c/tf_status.h",
  "tensorflow/c/tf_tensor.h",
  "tensorflow/c/tf_tstring.h",
  "tensorflow/core/platform/ctstring.h",
  "tensorflow/core/platform/ctstring_internal.h",
  "tsl/platform/ctstring.h",
  "tsl/platform/ctstring_internal.h",
  "xla/tsl/c/tsl_status.h",
];

/** Wheel (about 230 MB) and unpacked library (683 MB) lie side by side for a moment. */
const SPACE_NEEDED = 1_000e6;

/** The user's cache folder of this project; TFJS_DIFFUSION_CACHE says another. */
export function cacheFolder(env = process.env, platform = process.platform) {
  if (env.TFJS_DIFFUSION_CACHE) return env.TFJS_DIFFUSION_CACHE;
  const home = homedir();
  const system =
    platform === "darwin"
      ? join(home, "Library", "Caches")
      : platform === "win32"
        ? (env.LOCALAPPDATA ?? join(home, "AppData", "Local"))
        : join(home, ".cache");
  return join(env.XDG_CACHE_HOME || system, "tfjs-diffusion");
}

/** The wheel for this machine; undefined where none is published (Windows, Intel Macs, musl). */
export function wheelForThisMachine() {
  if (process.platform === "linux" && isMusl()) return undefined;
  return WHEELS[`${process.platform}-${process.arch}`];
}

/** musl (Alpine) has no glibc; TensorFlow is published for glibc only. */
const isMusl = () => !process.report.getReport().header.glibcVersionRuntime;

/** The folder that holds lib/ and include/ once they are complete. */
export const libraryFolder = (cache) =>
  join(cache, `tensorflow-${TENSORFLOW}-${process.platform}-${process.arch}`);

/** True when the unpacked library is there, as it was when its hashes were last taken. */
export const isLibraryGood = (wheel, folder) =>
  Object.keys(wheel.hashes).every((name) => isUnchanged(folder, name));

/** Downloads and unpacks the library unless it is there and genuine; returns its folder. */
export async function ensureLibrary(wheel, cache) {
  const folder = libraryFolder(cache);
  if (existsSync(folder)) {
    const forged = await firstForged(folder, wheel.hashes);
    if (!forged) return folder;
    say(`${join(folder, forged)} is not the file that TensorFlow's authors published: unpacking it again`);
    rmSync(folder, { recursive: true, force: true });
  }
  const downloads = join(cache, "downloads");
  mkdirSync(downloads, { recursive: true });
  checkSpace(downloads, SPACE_NEEDED, "TensorFlow's library");
  const file = await fetchWheel(wheel, downloads);
  await timed("unpacking TensorFlow's library", () => unpack(wheel, file, folder));
  const forged = await firstForged(folder, wheel.hashes);
  if (forged) throw new SetupError(`${join(folder, forged)} was not unpacked as published`, "run again");
  rmSync(downloads, { recursive: true, force: true });
  return folder;
}

/** Creates the cache folder, or says what to do about it. */
export function makeCacheFolder(folder) {
  try {
    makeFirstMissing(resolve(folder));
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new SetupError(
      `cannot write to ${folder} (${error.code})`,
      "set TFJS_DIFFUSION_CACHE to a folder that you can write to",
    );
  }
}

/** Where a disk makes no folders, as below /proc, Node's `recursive` tries for ever: the first one shows whether it does. */
function makeFirstMissing(folder) {
  let first;
  for (let at = folder; !existsSync(at); at = dirname(at)) first = at;
  if (first === undefined) return;
  try {
    mkdirSync(first);
  } catch (error) {
    const made = error.code === "EEXIST" && statSync(first, { throwIfNoEntry: false })?.isDirectory();
    if (!made) throw error; // else another process was faster
  }
}

/** Throws when the file system of `folder` has less than `needed` bytes free. */
export function checkSpace(folder, needed, what) {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= needed) return;
  throw new SetupError(
    `${what} needs ${megabytes(needed)} on the disk of ${folder}, which has ${megabytes(free)} left`,
    "make room there; TFJS_DIFFUSION_CACHE puts TensorFlow's library on another disk",
  );
}

/** Gets the wheel into `downloads` by the first route that works. */
async function fetchWheel(wheel, downloads) {
  const file = join(downloads, wheel.file);
  if (existsSync(file)) {
    await checkHash(file, wheel.sha256);
    return file;
  }
  const failures = [];
  for (const route of [withPip, fromIndex]) {
    try {
      await route(wheel, downloads, file);
      await checkHash(file, wheel.sha256);
      return file;
    } catch (error) {
      failures.push(reason(error));
    }
  }
  throw new SetupError(
    `TensorFlow's library could not be downloaded: ${failures.join("; ")}`,
    `check the network, or put ${wheel.file} into ${downloads} yourself, and run again`,
  );
}

async function withPip(wheel, downloads) {
  const [program, ...first] = await findPip();
  const python = /-cp(\d+)-/.exec(wheel.file)[1];
  const args = [
    "download",
    `${wheel.project}==${TENSORFLOW}`,
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
  ];
  args.push("--implementation", "cp", "--python-version", python, "--abi", `cp${python}`);
  args.push("--platform", wheel.platform, "--dest", downloads, "--disable-pip-version-check", "--no-input");
  // pip collects the file in its temporary folder, which may be a small memory disk.
  const temporary = join(downloads, "pip");
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  await timed(`downloading TensorFlow ${TENSORFLOW} with pip (230 MB)`, async () => {
    const options = { env: { TMPDIR: temporary }, show: process.stderr.isTTY };
    const { status, output } = await run(program, [...first, ...args], options);
    if (status !== 0) throw new SetupError(`pip: ${errorLine(output)}`);
  });
}

async function findPip() {
  for (const command of [["python3", "-m", "pip"], ["pip3"], ["python", "-m", "pip"], ["pip"]]) {
    const { status } = await run(command[0], [...command.slice(1), "--version"]);
    if (status === 0) return command;
  }
  throw new SetupError("pip is not installed");
}

async function fromIndex(wheel, _downloads, file) {
  const index = packageIndex();
  say(`downloading ${wheel.file} from the package index (230 MB)`);
  await download(await findOnIndex(index, wheel.project, wheel.file), file, wheel.sha256);
}

/** Unpacks what the addon needs into `folder`, which appears complete or not at all. */
export async function unpack(wheel, file, folder) {
  const draft = `${folder}.part`;
  rmSync(draft, { recursive: true, force: true });
  const entries = await zipEntries(file);
  const find = (name) => {
    const entry = entries.get(`tensorflow/${name}`);
    if (!entry) throw new SetupError(`${file} holds no tensorflow/${name}`, "delete it and run again");
    return entry;
  };
  for (const name of HEADERS) await extractTo(find(`include/${name}`), join(draft, "include", name));
  for (const name of wheel.libraries) {
    const entry = find(name);
    await extractTo(entry, join(draft, "lib", name), meter(name, entry.size));
  }
  renameSync(draft, folder);
}

function extractTo(entry, path, onBytes) {
  mkdirSync(dirname(path), { recursive: true });
  return extractEntry(entry, path, onBytes);
}
