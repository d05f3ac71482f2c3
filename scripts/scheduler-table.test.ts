import { expect, test } from "vitest";
import { schedulerTable, writtenTable } from "./scheduler-table.js";

test("the table of docs/schedulers.md is what the registry says; scripts/scheduler-table.ts writes it", () => {
  expect(writtenTable()).toBe(schedulerTable());
});
