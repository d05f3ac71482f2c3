import { appendFile, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openJournal } from "./journal.js";

const file = async () => join(await mkdtemp(join(tmpdir(), "journal-")), "deep", "journal.jsonl");

async function reopened(path: string) {
  const lines: unknown[] = [];
  const journal = await openJournal(
    path,
    (line) => lines.push(line),
    () => lines as object[],
  );
  return { lines, journal };
}

test("what was appended is read again, in order", async () => {
  const path = await file();
  const { journal } = await reopened(path);
  await Promise.all([1, 2, 3].map((n) => journal.append({ n })));
  await journal.close();
  expect((await reopened(path)).lines).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
});

test("a line that a crash cut short is dropped, and does not swallow the next one", async () => {
  const path = await file();
  const first = await reopened(path);
  await first.journal.append({ n: 1 });
  await first.journal.close();
  for (const torn of ['{"n":', '{"n": 2}', "\0\0\0"]) {
    await appendFile(path, torn); // without the line's end
    const { lines, journal } = await reopened(path);
    expect(lines).toEqual([{ n: 1 }]);
    await journal.close();
  }
  const { journal } = await reopened(path);
  await journal.append({ n: 3 });
  await journal.close();
  expect((await reopened(path)).lines).toEqual([{ n: 1 }, { n: 3 }]);
});

test("every cut of the file leaves a beginning of what was written", async () => {
  const path = await file();
  const { journal } = await reopened(path);
  for (const n of [1, 2, 3]) await journal.append({ n, text: "ä\n\u2028" });
  await journal.close();
  const bytes = await readFile(path);
  for (let length = 0; length <= bytes.length; length++) {
    await writeFile(path, bytes.subarray(0, length));
    const again = await reopened(path);
    await again.journal.close();
    const whole = bytes.subarray(0, length).filter((byte) => byte === 10).length;
    expect(again.lines.map((line) => (line as { n: number }).n)).toEqual([1, 2, 3].slice(0, whole));
  }
});

test("a damaged line is counted and the rest is kept", async () => {
  const path = await file();
  const first = await reopened(path);
  await first.journal.append({ n: 1 });
  await first.journal.close();
  await appendFile(path, 'garbage\n{"n":2}\n');
  const lines: unknown[] = [];
  const journal = await openJournal(
    path,
    (line) => lines.push(line),
    () => lines as object[],
  );
  expect(lines).toEqual([{ n: 1 }, { n: 2 }]);
  expect(journal.damaged).toBe(1);
});

test("a journal that says little in many lines is written anew", async () => {
  const path = await file();
  const { journal } = await reopened(path);
  for (let n = 0; n < 120; n++) await journal.append({ n });
  await journal.close();
  let last: unknown;
  const again = await openJournal(
    path,
    (line) => {
      last = line;
    },
    () => [last as object],
  );
  await again.close();
  expect(await readFile(path, "utf8")).toBe('{"n":119}\n');
});
