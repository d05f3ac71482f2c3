import { schedulerEntries } from "../src/schedulers/catalog.js";

/** The table of docs/schedulers.md, in Markdown. Run: npx tsx scripts/scheduler-table.ts */
export function schedulerTable(): string {
  const rows = schedulerEntries.map((s) => [
    `\`${s.name}\``,
    s.className ?? "",
    s.label === s.name ? "" : s.label,
    `[${s.paper}](https://arxiv.org/abs/${s.paper})`,
    s.order,
    s.calls,
    s.stochastic === "eta" ? "with eta" : s.stochastic ? "yes" : "no",
  ]);
  const head = [
    "Name",
    "diffusers",
    "AUTOMATIC1111",
    "Paper",
    "Order",
    "UNet calls for N steps",
    "Stochastic",
  ];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

if (process.argv[1]?.endsWith("scheduler-table.ts")) console.log(schedulerTable());
