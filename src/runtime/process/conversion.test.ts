import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { pseudoRandom } from "../../testing/tiny.js";
import type { WeightsPlace } from "../../weights/component.js";
import { writeSafetensors } from "../../weights/formats/safetensors.js";
import { type Conversion, convertShare, convertTogether, waitForOthers } from "./conversion.js";

const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const place: WeightsPlace = { path: join(scratch, "model.safetensors"), layout: { by: "diffusers" } };
const shapes = { "a.weight": [4, 3, 3, 3], "b.weight": [8, 5], "c.weight": [2, 2, 3, 3] };
writeSafetensors(
  place.path,
  new Map(
    Object.entries(shapes).map(([name, shape], i) => {
      const length = shape.reduce((a, b) => a * b, 1);
      const data = () => new Uint8Array(pseudoRandom(length, i + 1).buffer);
      return [name, { dtype: "F32", shape, data }];
    }),
  ),
);
const weights: Conversion["weights"] = [
  { name: "a.weight", view: { layout: "winograd4" } },
  { name: "b.weight", view: { layout: "matrix" } },
  { name: "c.weight", view: { layout: "kernel" } },
];
const options = (name: string) =>
  ({ place, precision: "fp32", cacheRoot: join(scratch, name), label: "test" }) as const;

/** Names (which hold checksums) and bytes of all that has been converted. */
function converted(name: string): Record<string, string> {
  const root = join(scratch, name, "weights");
  const files = (readdirSync(root, { recursive: true }) as string[]).filter((file) => file.endsWith(".bin"));
  return Object.fromEntries(
    files.sort().map((file) => [file, readFileSync(join(root, file)).toString("hex")]),
  );
}

test("threads take a weight each in turn, and convert every weight once", () => {
  const shared = new SharedArrayBuffer(16);
  const took: string[] = [];
  // The second begins in the middle of the first.
  const first = { ...options("both"), weights, shared };
  convertShare(first, () => {
    took.push("first");
    if (took.length === 1) convertShare(first, () => took.push("second"));
  });
  expect(took).toEqual(["first", "second", "second"]);
  expect([...new Int32Array(shared)]).toEqual([5, 3, 0, 7]);
  convertShare({ ...options("one"), weights, shared: new SharedArrayBuffer(16) });
  expect(Object.keys(converted("one"))).toHaveLength(3);
  expect(converted("both")).toEqual(converted("one"));
});

test("a thread that ends while others look is not waited for", () => {
  const state = new Int32Array(new SharedArrayBuffer(16));
  const looks: number[] = [];
  state[2] = 2; // at work
  waitForOthers(state, () => {
    looks.push(state[2]!);
    state[2]!--;
    state[3]!++;
  });
  expect(looks).toEqual([2, 1]);
});

test("threads that do not start are done without", () => {
  let told = 0;
  const entry = new URL("file:///nowhere/at/all.js");
  convertTogether(
    { ...options("alone"), weights },
    { threads: 3, entry, onWeight: () => told++, leastNumbers: 1 },
  );
  expect(told).toBe(3);
  expect(converted("alone")).toEqual(converted("one"));
});

test("what cannot be converted is left to who needs it, and little is, too", () => {
  const shared = new SharedArrayBuffer(16);
  convertShare({
    ...options("gone"),
    place: { ...place, path: join(scratch, "gone.safetensors") },
    weights,
    shared,
  });
  expect([...new Int32Array(shared)]).toEqual([0, 0, 0, 2]);
  let told = 0;
  const entry = new URL("file:///nowhere/at/all.js");
  convertTogether({ ...options("little"), weights }, { threads: 3, entry, onWeight: () => told++ });
  expect(told).toBe(0);
});
