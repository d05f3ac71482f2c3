import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { schedulerEntries } from "../src/schedulers/catalog.js";

/** Writes the table of docs/schedulers.md anew. Run: npx tsx scripts/scheduler-table.ts */

const path = fileURLToPath(new URL("../docs/schedulers.md", import.meta.url));
const table = /^\| name .*\n(?:\|.*\n)+/m;

const noise = { true: "yes", false: "", eta: "with eta" } as const;

/** The table in Markdown, its columns as wide as their longest cell. */
export function schedulerTable(): string {
  const head = ["name", "web UI", "diffusers", "order", "calls for N steps", "adds noise", "paper"];
  const rows = schedulerEntries.map(({ name, label, className, order, calls, stochastic, paper }) => [
    ...[`\`${name}\``, label === name ? "" : label, className ?? "", order, calls],
    ...[noise[`${stochastic}`], `[${paper}](https://arxiv.org/abs/${paper})`],
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((cells) => cells[i]!.length)));
  const lineOf = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |\n`;
  return [head, widths.map((width) => "-".repeat(width)), ...rows].map(lineOf).join("");
}

/** The table as it stands in the document. */
export const writtenTable = (): string | undefined => table.exec(readFileSync(path, "utf8"))?.[0];

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(path, readFileSync(path, "utf8").replace(table, schedulerTable));
