import { expect, test } from "vitest";
import { z } from "zod";
import { firstProblem, inWords, problemsOf } from "./expectations.js";

const said = (schema: z.ZodType, value: unknown): string => {
  const { error } = schema.safeParse(value);
  return inWords(firstProblem(error!, value), "body");
};
const share = z.number().min(0).max(1);

test.each<[z.ZodType, unknown, string]>([
  [z.object({ strength: share }), { strength: 1.2 }, "strength: expected at most 1, got 1.2"],
  [z.object({ strength: share }), { strength: -1 }, "strength: expected at least 0, got -1"],
  [z.number().gt(0), 0, "body: expected more than 0, got 0"],
  [z.number().lt(2), 2, "body: expected less than 2, got 2"],
  [z.number().int(), 1.5, "body: expected a whole number, got 1.5"],
  [z.number(), "20", 'body: expected a number, got "20"'],
  [z.number(), Number.NaN, "body: expected a number, got NaN"],
  [z.object({ prompt: z.string() }), {}, "prompt: expected text, got nothing"],
  [z.string(), null, "body: expected text, got null"],
  [z.string(), ["a"], "body: expected text, got a list"],
  [z.boolean(), {}, "body: expected true or false, got an object"],
  [z.object({}), 3, "body: expected an object, got 3"],
  [z.number(), "x".repeat(100), `body: expected a number, got "${"x".repeat(60)}…"`],
  [z.string().max(3), "abcd", "body: expected at most 3 characters, got 4"],
  [z.string().min(1), "", "body: expected at least 1 character, got 0"],
  [z.array(z.number()).min(1), [], "body: expected at least 1 entry, got 0"],
  [z.array(z.number()).length(3), [1], "body: expected exactly 3 entries, got 1"],
  [z.object({ a: z.array(share) }), { a: [0, 2] }, "a.1: expected at most 1, got 2"],
  [z.strictObject({}), { stepz: 1 }, 'body: there is no "stepz" here'],
  [z.object({ hires: z.strictObject({}) }), { hires: { x: 1 } }, 'hires: there is no "x" here'],
  [z.enum(["a", "b"]), "c", 'body: expected one of "a", "b", got "c"'],
  [z.literal("x"), "c", 'body: expected "x", got "c"'],
  [z.union([z.string(), z.number().int()]), true, "body: expected text or a number, got true"],
  [
    z.union([z.boolean(), z.strictObject({ every: share })]),
    { every: 2 },
    "every: expected at most 1, got 2",
  ],
  [
    z.discriminatedUnion("kind", [z.object({ kind: z.literal("a") }), z.object({ kind: z.literal("b") })]),
    { kind: "c" },
    'kind: expected one of "a", "b", got "c"',
  ],
  [z.instanceof(Float32Array), [1], "body: expected a Float32Array, got a list"],
  [z.string().regex(/^a$/, 'must be "a"'), "b", 'body: must be "a", got "b"'],
])("problem %#: what was expected, and what came", (schema, value, message) => {
  expect(said(schema, value)).toBe(message);
});

test("each of several problems", () => {
  const schema = z.object({ steps: z.number().min(1), seed: z.number() });
  const value = { steps: 0 };
  const { error } = schema.safeParse(value);
  expect(problemsOf(error!, value)).toEqual([
    { path: "steps", message: "expected at least 1, got 0" },
    { path: "seed", message: "expected a number, got nothing" },
  ]);
});
