import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const place = (path: string) => fileURLToPath(new URL(path, import.meta.url));

test("every line of the table of losses in docs/scaling.md names tests that there are", () => {
  const docs = readFileSync(place("../../../docs/scaling.md"), "utf8");
  const [, table = ""] = /^\| what fails .*\n\| -.*\n((?:\|.*\n)+)/m.exec(docs) ?? [];
  const rows = table.trim().split("\n");
  expect(rows.length).toBeGreaterThan(20);
  for (const row of rows) {
    const cells = row.split(" | ");
    const tests = [...cells.at(-1)!.matchAll(/`([\w./-]+\.test\.ts)`: (.+?)(?=<br>|\s*\|?\s*$)/g)];
    expect([row.slice(0, 60), tests.length]).not.toEqual([row.slice(0, 60), 0]);
    for (const [, file = "", title = ""] of tests) {
      const path = place(`../${file}`);
      expect([file, existsSync(path)]).toEqual([file, true]);
      const text = readFileSync(path, "utf8");
      expect([file, title, text.includes(title)]).toEqual([file, title, true]);
    }
  }
});
