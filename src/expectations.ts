import type { z } from "zod";

type Issue = z.core.$ZodIssue;

/** What is wrong with a value, in words of this library: "strength: expected at most 1, got 1.2". */
export interface Problem {
  /** Dotted path, "" for the whole. */
  readonly path: string;
  /** "expected at most 1, got 1.2" */
  readonly message: string;
  /** The key that nothing is known of, if that is the problem. */
  readonly unknownKey?: string;
}

/** The first thing that a schema found. @param value what was checked */
export const firstProblem = ({ issues }: z.ZodError, value: unknown): Problem => problemOf(issues[0]!, value);

export const problemsOf = ({ issues }: z.ZodError, value: unknown): Problem[] =>
  issues.map((issue) => problemOf(issue, value));

/** "strength: expected at most 1, got 1.2"; `whole` names the value itself. */
export const inWords = ({ path, message }: Problem, whole: string): string => `${path || whole}: ${message}`;

const isUnknownKey = ({ code }: Issue): boolean => code === "unrecognized_keys";

function problemOf(issue: Issue, value: unknown): Problem {
  const at = issue.path.reduce<unknown>(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    const [unknownKey] = issue.keys;
    return { path, message: `there is no ${JSON.stringify(unknownKey)} here`, unknownKey: unknownKey! };
  }
  if (issue.code === "invalid_union") {
    // The alternative that was meant is the one that fits so far that only a part of it is wrong.
    const deeper = issue.errors
      .map((issues) => issues.find(isUnknownKey) ?? issues[0])
      .find((first) => first && (first.path.length > 0 || isUnknownKey(first)));
    if (deeper) return problemOf({ ...deeper, path: [...issue.path, ...deeper.path] }, value);
  }
  const expected = expectedBy(issue);
  if (expected === undefined) return { path, message: `${issue.message}, got ${got(at)}` };
  return { path, message: `expected ${expected}, got ${sizeOf(issue, at) ?? got(at)}` };
}

/** Undefined where a schema has words of its own. */
function expectedBy(issue: Issue): string | undefined {
  switch (issue.code) {
    case "too_big":
      return bound(issue, Number(issue.maximum), "at most", "less than");
    case "too_small":
      return bound(issue, Number(issue.minimum), "at least", "more than");
    case "invalid_type":
      return nouns[issue.expected] ?? `${/^[aeiou]/i.test(issue.expected) ? "an" : "a"} ${issue.expected}`;
    case "invalid_value":
      return oneOf(issue.values.map((one) => JSON.stringify(one)));
    case "invalid_union": {
      const { options = [] } = issue as { options?: readonly unknown[] };
      if (issue.errors.length === 0) return oneOf(options.map((one) => JSON.stringify(one)));
      const each = issue.errors.map(([first]) => first && expectedBy(first));
      return each.includes(undefined) ? undefined : [...new Set(each)].join(" or ");
    }
    case "custom":
      return issue.message === "Invalid input" ? "another kind of value" : undefined;
    default:
      return undefined;
  }
}

const nouns: Record<string, string> = {
  number: "a number",
  int: "a whole number",
  string: "text",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
  bigint: "a bigint",
  null: "null",
};

const oneOf = (values: readonly string[]): string =>
  values.length === 1 ? values[0]! : `one of ${values.join(", ")}`;

const units: Record<string, string> = {
  string: "character",
  array: "entry",
  tuple: "entry",
  map: "entry",
  set: "entry",
};

type Bound = Extract<Issue, { code: "too_big" | "too_small" }>;

function bound({ origin, inclusive, exact }: Bound, limit: number, within: string, beyond: string): string {
  const word = exact ? "exactly" : inclusive ? within : beyond;
  const unit = units[origin];
  if (!unit) return `${word} ${limit}`;
  return `${word} ${limit} ${limit === 1 ? unit : unit === "entry" ? "entries" : `${unit}s`}`;
}

/** What is too long is not repeated; how long it is says more. */
function sizeOf({ code }: Issue, value: unknown): string | undefined {
  if (code !== "too_big" && code !== "too_small") return undefined;
  return typeof value === "string" || Array.isArray(value) ? String(value.length) : undefined;
}

function got(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}
