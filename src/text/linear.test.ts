import { describe, expect, it } from "vitest";
import { parseAttention } from "./attention.js";
import { parseCompel } from "./compel.js";
import { editPrompt } from "./editing.js";
import { extractNetworks } from "./prompt.js";

/** Processor time of this process in ms: other processes do not change it. */
function timeOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const readers: Record<string, (prompt: string) => unknown> = {
  attention: parseAttention,
  editing: (prompt) => editPrompt(prompt, 20),
  compel: parseCompel,
  networks: extractNetworks,
};
const parts = [
  " ",
  "(",
  "[",
  ")",
  "(a",
  "[a",
  "((",
  "a) ",
  "(a:1.2)",
  "[a:b:3]",
  "[a|b]",
  "[a:",
  ":",
  ": ",
  "|",
  "\\(",
];
const more = ["a+", "a.", '"', "BREAK", " BREAK ", "AND ", "a AND b :", "<lora:", "<a", "0", ".", "a, "];

describe.each(Object.entries(readers))("%s takes time in proportion to the length", (_, read) => {
  it.each([...parts, ...more])("of %j, again and again", (part) => {
    const few = part.repeat(Math.ceil(8_000 / part.length));
    const many = part.repeat(Math.ceil(64_000 / part.length));
    read(few.slice(0, 500));
    const short = Math.min(...Array.from({ length: 3 }, () => timeOf(() => read(few))));
    const long = timeOf(() => read(many));
    // Eight times as long: quadratic would be 64 times. Less than 150 ms is not worth a look.
    expect(long).toBeLessThan(Math.max(150, 30 * short));
  });

  it("of opened and closed brackets around a word", () => {
    const nested = (depth: number) => `${"(".repeat(depth)}a b${")".repeat(depth)}`;
    expect(timeOf(() => read(nested(20_000)))).toBeLessThan(1_000);
    expect(timeOf(() => read(`${"(a ".repeat(10_000)}${":1.1)".repeat(10_000)}`))).toBeLessThan(1_000);
  });
});

it("multiplies brackets as deep as they come", () => {
  expect(parseAttention(`${"(".repeat(200)}a${":0.5)".repeat(200)}`)).toEqual([
    { text: "a", weight: 0.5 ** 200 },
  ]);
  expect(parseAttention("([a) b] c")).toEqual([
    { text: "a", weight: 1.1 * (1 / 1.1) },
    { text: " b", weight: 1 / 1.1 },
    { text: " c", weight: 1 },
  ]);
});
