import { packageFolder, packageVersion } from "../disk/package.js";

/** What one call of the program shares: how it talks, and what stops it. */
export interface Session {
  /** Standard output holds JSON, one object a line, and nothing else. */
  readonly json: boolean;
  readonly debug: boolean;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Paths of the finished pictures, in their order: whoever interrupts the call is told that they stay. */
  readonly written: string[];
}

/** Results, on standard output. */
export const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** What is said on the way, on standard error. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** One line of JSON on standard output. Numbers beyond 2^53 become texts, infinite ones null. */
export const sayJson = (value: object): void =>
  say(JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? String(item) : item)));

export const packageRoot: string = packageFolder();

export const version: string = packageVersion();

/** How the program was called, for commands that can be copied from what it says. */
export const invocation: string =
  process.env.npm_lifecycle_event === "start" ? "npm start --" : "npx tfjs-diffusion";
