import { setTimeout as sleep } from "node:timers/promises";
import { Refusal } from "../refusal.js";

interface Address {
  /** Wrong ones in a row. */
  failures: number;
  last: number;
  waiting: number;
  /** When the one before has been looked at. */
  turn: Promise<void>;
}

export interface LoginsOptions {
  readonly log: (line: string) => void;
  /** Wrong ones in a row after which an address waits. Default 5. */
  readonly free?: number;
  /** Milliseconds of the first wait; each further one is twice as long, up to 5 s. Default 250. */
  readonly waitMs?: number;
  /** What it waits with. Default: a timer. */
  readonly pause?: (ms: number) => Promise<void>;
}

const onTimer = (ms: number): Promise<void> => sleep(ms, undefined, { ref: false });

const longestWaitMs = 5000;
/** Requests of one address that may wait to be looked at. */
const mostWaiting = 20;
/** Milliseconds after which an address is forgotten, and how many are remembered. */
const forgetMs = 15 * 60_000;
const mostAddresses = 10_000;

/** Slows down those who guess: after some wrong ones in a row, an address is looked at once in a while, one at a time. */
export class Logins {
  readonly #options: LoginsOptions;
  readonly #addresses = new Map<string, Address>();

  constructor(options: LoginsOptions) {
    this.#options = options;
  }

  /**
   * @param isRight looks at what was sent; not before it is its turn
   * @throws Refusal 429 when too many of this address wait
   */
  async check(address: string, isRight: () => boolean): Promise<boolean> {
    const { free = 5, waitMs = 250, pause = onTimer } = this.#options;
    const known = this.#addresses.get(address);
    if (!known || known.failures < free) return this.#tell(address, isRight());
    if (known.waiting >= mostWaiting)
      throw new Refusal(429, "TOO_MANY", "too many failed logins", { headers: { "Retry-After": "10" } });
    known.waiting++;
    const ms = Math.min(longestWaitMs, waitMs * 2 ** (known.failures - free));
    const looked = known.turn.then(async () => {
      // Somebody of this address was right meanwhile.
      if (this.#addresses.get(address) === known) await pause(ms);
      return this.#tell(address, isRight());
    });
    known.turn = looked.then(() => {});
    return looked.finally(() => {
      known.waiting--;
    });
  }

  #tell(address: string, right: boolean): boolean {
    if (right) {
      this.#addresses.delete(address);
      return true;
    }
    const now = performance.now();
    for (const [other, { last, waiting }] of this.#addresses)
      if (waiting === 0 && (now - last > forgetMs || this.#addresses.size >= mostAddresses))
        this.#addresses.delete(other);
      else break;
    const known = this.#addresses.get(address) ?? {
      failures: 0,
      last: now,
      waiting: 0,
      turn: Promise.resolve(),
    };
    known.failures++;
    known.last = now;
    // To the end: the first ones are forgotten first.
    this.#addresses.delete(address);
    this.#addresses.set(address, known);
    // Once for each doubling, so that guessing does not flood the log.
    if (Number.isInteger(Math.log2(known.failures)))
      this.#options.log(`login failed: ${known.failures} in a row from ${address}`);
    return false;
  }
}
