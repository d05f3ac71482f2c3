import { type ChildProcess, fork } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { nodeArguments, packageFolder, pathOf } from "../../disk/package.js";
import type { Size } from "../../image/image.js";
import { Refusal } from "../refusal.js";
import type { Limits } from "../requests/limits.js";
import { type Answer, type Question, tooManyPixels } from "./messages.js";
import type { Given, PictureTasks, Plain } from "./pictures.js";

export type { Plain };

type Name = keyof PictureTasks;
type Asked<N extends Name> = Omit<Parameters<PictureTasks[N]>[0], keyof Given>;
type Made<N extends Name> = Awaited<ReturnType<PictureTasks[N]>>["result"];

/** The pictures that one request brings: decoded one by one, and bounded together. */
export interface ForeignPictures {
  /**
   * Looks at what the headers of all that a request brings say together, before the first is decoded: what is too much
   * is refused at once, and not after as many of them as there is room for.
   *
   * @throws Refusal 400 TOO_LARGE
   */
  checkSizes(all: readonly (() => Uint8Array)[]): Promise<void>;
  /** @throws Refusal and DiffusionError for what is no picture, or too large a one */
  make<N extends Name>(
    name: N,
    bytes: Uint8Array,
    ...asked: keyof Asked<N> extends never ? [] : [Asked<N>]
  ): Promise<Made<N>>;
}

export interface ForeignOptions extends Pick<Limits, "imagePixels" | "requestPixels"> {
  /** Milliseconds that one picture may take. Default 30 s. */
  readonly pictureMs?: number;
  /** Milliseconds without a picture after which the process is given up. Default 60 s. */
  readonly idleMs?: number;
}

/** Requests whose picture waits to be decoded, at most. */
const MOST_WAITING = 100;
/** All that the process may know of its surroundings: no token, no password. */
const environment = ["PATH", "TMPDIR", "TEMP", "TMP", "SystemRoot", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/** Has strangers' pictures decoded in a process of its own, one at a time. It starts with the first one. */
export class Foreign {
  readonly #options: ForeignOptions;
  #child: ChildProcess | undefined;
  #started: Promise<ChildProcess> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #questions = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: ForeignOptions) {
    this.#options = options;
  }

  /** Whether no process is held ready. */
  get isIdle(): boolean {
    return this.#child === undefined;
  }

  /** What the process that decodes is told of its surroundings. */
  get surroundings(): NodeJS.ProcessEnv {
    const known = environment.filter((name) => process.env[name] !== undefined);
    return Object.fromEntries(known.map((name) => [name, process.env[name]]));
  }

  /** For the pictures of one request. */
  ofRequest(): ForeignPictures {
    const { imagePixels: most, requestPixels } = this.#options;
    let left = requestPixels;
    // One of a request is in line at a time, so that others come in between.
    let before: Promise<unknown> = Promise.resolve();
    return {
      checkSizes: async (all) => {
        if (all.length * most <= left) return;
        let sum = 0;
        for (const bytes of all) {
          const { result } = await this.#inTurn("size", { bytes: bytes(), most, left });
          const { width, height } = result as Size;
          sum += width * height;
          if (sum > left) throw tooManyPixels();
        }
      },
      make: (name, bytes, ...[asked]) => {
        const made = before.then(async () => {
          const { result, pixels } = await this.#inTurn(name, { bytes, most, left, ...asked });
          left -= pixels;
          return result as never;
        });
        before = made.catch(() => {});
        return made;
      },
    };
  }

  async #inTurn(name: Name, given: Given): Promise<{ result: unknown; pixels: number }> {
    if (this.#waiting >= MOST_WAITING)
      throw new Refusal(503, "BUSY", "too many pictures wait to be decoded", {
        hint: "try again in a moment",
        headers: { "Retry-After": "5" },
      });
    this.#waiting++;
    clearTimeout(this.#idle);
    const answered = this.#last.then(() => this.#ask(name, given));
    this.#last = answered.catch(() => {});
    try {
      return await answered;
    } finally {
      this.#waiting--;
      const { idleMs = 60_000 } = this.#options;
      if (this.#waiting === 0) this.#idle = setTimeout(() => this.dispose(), idleMs).unref();
    }
  }

  async #ask(name: Name, given: Given): Promise<{ result: unknown; pixels: number }> {
    this.#started ??= this.#start();
    const child = await this.#started;
    const { pictureMs = 30_000 } = this.#options;
    const question: Question = { id: ++this.#questions, name, given };
    return new Promise((resolve, reject) => {
      const end = (how: string) => {
        settle();
        this.#end(child);
        reject(new Refusal(400, "BAD_IMAGE", `Image (${given.bytes.length} bytes): ${how}`));
      };
      const late = setTimeout(() => end(`it takes longer than ${pictureMs / 1000} s to decode`), pictureMs);
      const lost = () => end("its decoder broke off");
      const receive = (answer: Answer) => {
        if (answer.id !== question.id) return;
        settle();
        if ("result" in answer) return resolve(answer);
        const { status, code, message, hint } = answer.error;
        reject(new Refusal(status, code, message, hint === undefined ? {} : { hint }));
      };
      const settle = () => {
        clearTimeout(late);
        child.off("message", receive).off("exit", lost).off("error", lost);
        for (const handle of [child, child.channel]) handle?.unref();
      };
      child.on("message", receive).on("exit", lost).on("error", lost);
      for (const handle of [child, child.channel]) handle?.ref();
      child.send(question, (error) => error && lost());
    });
  }

  /** Waits until it is loaded, so that a picture has all of its time. */
  async #start(): Promise<ChildProcess> {
    const here = pathOf(import.meta.url);
    const isSource = here.endsWith(".ts");
    const beside = join(dirname(here), isSource ? "process.ts" : "server/foreign.js");
    const entry = existsSync(beside) ? beside : join(packageFolder(), "dist", "server", "foreign.js");
    const child = fork(entry, [], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      execArgv: nodeArguments(entry),
      env: this.surroundings,
    });
    // Between two pictures it must not take the server down with it.
    this.#child = child;
    child.on("error", () => this.#end(child));
    child.on("exit", () => this.#end(child));
    await new Promise<void>((resolve) => {
      for (const event of ["message", "error", "exit"]) child.once(event, () => resolve());
    });
    return child;
  }

  #end(child: ChildProcess): void {
    if (this.#child === child) {
      this.#child = undefined;
      this.#started = undefined;
    }
    child.kill("SIGKILL");
  }

  dispose(): void {
    clearTimeout(this.#idle);
    if (this.#child) this.#end(this.#child);
  }
}

/**
 * The bytes of a base64 text, with or without `data:image/png;base64,` in front, whatever kind that names: browsers say
 * `application/octet-stream` of a file whose name tells them nothing.
 *
 * @throws Refusal for everything else, addresses above all: this server fetches nothing for its clients
 */
export function decodeBase64(text: string): Uint8Array {
  if (/^[a-z]+:\/\//i.test(text.slice(0, 20)))
    throw new Refusal(400, "BAD_IMAGE", "pictures are sent as base64; addresses are not fetched");
  const [head = ""] = /^\s*data:[^,]{0,200},/i.exec(text) ?? [];
  if (head !== "" && !/;base64,$/i.test(head))
    throw new Refusal(400, "BAD_IMAGE", "of data: URLs, only those in base64 are read");
  const compact = text.slice(head.length).replace(/\s+/g, "");
  if (compact === "" || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(compact))
    throw new Refusal(400, "BAD_IMAGE", "Invalid encoded image");
  return Buffer.from(compact, "base64");
}
