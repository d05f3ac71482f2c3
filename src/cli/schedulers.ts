import type { Command } from "commander";
import { scheduleTypes } from "../index.js";
import { schedulerEntries } from "../schedulers/catalog.js";
import { type Session, say, sayJson } from "./session.js";
import { tableOf } from "./wording.js";

export function addSchedulers(program: Command, session: Session): void {
  program
    .command("schedulers")
    .summary("the schedulers, for --scheduler")
    .description("Lists the schedulers. Their diffusers and AUTOMATIC1111 names are understood as well.")
    .action(() => {
      const schedulers = schedulerEntries;
      if (session.json) return sayJson({ schedulers, scheduleTypes });
      const rows = schedulers.map(({ name, label, className = "", order, calls, stochastic, paper }) => [
        name,
        label === name ? "" : label,
        className,
        order,
        calls,
        stochastic === "eta" ? "with eta" : stochastic ? "yes" : "no",
        paper,
      ]);
      say(
        tableOf([["name", "web UI", "diffusers", "order", "calls for N steps", "noise", "arXiv"], ...rows]),
      );
      say(`\nMost take a schedule behind their name, dpmpp_2m_karras: ${scheduleTypes.join(", ")}.`);
    });
}
