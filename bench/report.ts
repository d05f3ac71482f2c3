import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "./machine.js";
import { markdown, type Table } from "./table.js";

/** What a run leaves behind: its tables, and the machine that they are of. */
export interface Result {
  readonly name: string;
  readonly machine: Machine;
  readonly quick: boolean;
  readonly tables: readonly Table[];
}

const order = ["default", "precision", "peers", "layers", "nodes", "queue", "soak", "fuzz"];

export function saveResult(folder: string, result: Result, variant: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${result.name}${variant}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

/** All results of a folder as Markdown, grouped by machine and day. */
export function report(folder: string): string {
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
  if (files.length === 0) return `No results in ${folder}: run \`npm run bench\` first.`;
  const results = files
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Result)
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const byMachine = new Map<string, Result[]>();
  for (const result of results) {
    const heading = describe(result.machine);
    byMachine.set(heading, [...(byMachine.get(heading) ?? []), result]);
  }
  const sections = [...byMachine].map(([heading, of]) => {
    const loads = of.filter(({ machine }) => machine.load > 0.3).map(({ name }) => name);
    const warnings = [
      ...(loads.length > 0 ? [`The machine was busy when these began: ${loads.join(", ")}.`] : []),
      ...(of.some(({ quick }) => quick)
        ? ["Some of these are of a quick run: fewer rounds, smaller sizes."]
        : []),
    ];
    const tables = of.flatMap((result) => result.tables.map(markdown));
    return [heading, ...warnings, ...tables].join("\n\n");
  });
  return sections.join("\n");
}

export const describe = (machine: Machine): string =>
  `Measured ${machine.date} on ${machine.cpu}, ${machine.cores} cores (${machine.features.join(", ")}), ${machine.memoryGb} GB; ` +
  `Node ${machine.node}, TensorFlow ${machine.tensorflow}, oneDNN ${machine.onednn}.`;
