/**
 * Enlarges a picture with a network of a file, in a process of its own: `node bench/ours-upscaler.mjs '<spec>'` prints
 * one JSON line. spec: { library, file, side, runs, threads, cacheDir }. The picture is that of with_spandrel.py.
 */
import { readdirSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { library, file, side, runs, threads, cacheDir } = JSON.parse(process.argv[2]);
const { ImageUpscaler } = await import(pathToFileURL(library).href);

/** Milliseconds of CPU time of this process and of the one that computes. */
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  const threads = children.filter(Boolean).flatMap((pid) => {
    return readdirSync(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}/schedstat`);
  });
  const nanoseconds = threads.map((path) => Number(readFileSync(path, "utf8").split(" ")[0]));
  return (user + system) / 1e3 + nanoseconds.reduce((a, b) => a + b, 0) / 1e6;
};

const data = new Uint8Array(side * side * 3);
for (let y = 0; y < side; y++)
  for (let x = 0; x < side; x++)
    data.set([x * 7 + y * 3, x * 5 + y * 11, x * 13 + y * 2], 3 * (y * side + x)); // modulo 256 by itself

const upscaler = await ImageUpscaler.load(file, { threads, cacheDir });
const times = [];
let result;
for (let run = 0; run < runs; run++) {
  const [cpu, began] = [cpuMs(), performance.now()];
  result = await upscaler.upscale({ width: side, height: side, data });
  times.push({ ms: performance.now() - began, cpuMs: cpuMs() - cpu });
}
const mean = result.data.reduce((a, b) => a + b, 0) / result.data.length;
console.log(JSON.stringify({ runs: times, mean, size: [result.height, result.width] }));
await upscaler.dispose();
