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

/**
 * Eight times as long a text may take 30 times as long: quadratic would be 64. A busy machine can spoil one comparison
 * (the collector runs, the other core takes the cache away), so one of ten has to hold. Less than 150 ms is not worth
 * a look.
 */
function expectLinear(read: (prompt: string) => unknown, textOf: (share: number) => string): void {
  const [few, many] = [textOf(1 / 8), textOf(1)];
  const inProportion = () => {
    const short = timeOf(() => read(few));
    return timeOf(() => read(many)) < Math.max(150, 30 * short);
  };
  read(textOf(1 / 100));
  expect(Array.from({ length: 10 }).some(inProportion)).toBe(true);
}

describe.each(Object.entries(readers))("%s takes time in proportion to the length", (_, read) => {
  it.each([...parts, ...more])("of %j, again and again", (part) => {
    expectLinear(read, (share) => part.repeat(Math.ceil((64_000 * share) / part.length)));
  });

  it("of opened and closed brackets around words", () => {
    const around = (open: string, words: string, close: string, depth: number) => (share: number) =>
      `${open.repeat(depth * share)}${words}${close.repeat(depth * share)}`;
    expectLinear(read, around("(", "a b", ")", 20_000));
    expectLinear(read, around("(a ", "", ":1.1)", 10_000));
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
