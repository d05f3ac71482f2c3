import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { type SavedGraph, savedGraph } from "./graph-cache.js";

const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let root: string;
let written: number;

beforeEach(() => {
  root = mkdtempSync(join(scratch, "cache-"));
  written = 0;
});

const given = [{ name: "a.weight", view: { layout: "matrix" } }] as const;

/** Asks for the graph of a question; its bytes are the question. */
function ask(question: string, program: string | undefined = "program"): SavedGraph {
  return savedGraph(
    root,
    [question],
    () => {
      written++;
      return { bytes: Buffer.from(question), given, compiled: 3, results: { sample: { shape: [1, 2] } } };
    },
    program,
  );
}

const graphFile = ({ folder }: SavedGraph): string => join(folder, "saved_model.pb");

test("a graph is written once for a question", () => {
  const first = ask("unet");
  expect(ask("unet")).toEqual(first);
  expect(first.results).toEqual({ sample: { shape: [1, 2] } });
  expect(ask("unet")).toMatchObject({ given, compiled: 3 });
  expect(written).toBe(1);
  expect(ask("vae").folder).not.toBe(first.folder);
  expect(written).toBe(2);
});

test("another program writes its own, and one without a name always does", () => {
  ask("unet");
  ask("unet", "another");
  expect(written).toBe(2);
  const graph = { bytes: Buffer.from("x"), given: [], compiled: 0, results: {} };
  const source = () => savedGraph(root, ["unet"], () => graph, "");
  expect(source()).toEqual(source());
});

test.each([
  ["a graph that is gone", (graph: SavedGraph) => rmSync(graphFile(graph))],
  ["a damaged graph", (graph: SavedGraph) => writeFileSync(graphFile(graph), "uneu")],
] as [string, (graph: SavedGraph) => void][])("%s is noticed", (_, damage) => {
  damage(ask("unet"));
  ask("unet");
  expect(written).toBe(2);
});
