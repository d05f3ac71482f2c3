import { describe, expect, it } from "vitest";
import { createRng } from "../latents/rng.js";
import type { WholeOptions } from "../options/resolved.js";
import { firstNoise } from "./noise.js";

/** As far as the first noise looks. */
const options = (more: Partial<WholeOptions>) =>
  ({ rng: "torch", seeds: [1], seedSize: { width: 2048, height: 2048 }, ...more }) as WholeOptions;
const draw = (more: Partial<WholeOptions> = {}) =>
  firstNoise(createRng("torch", 1), [1, 8, 8, 4], options(more), 0, 8);

describe("the first noise", () => {
  it("of the largest size that a server admits lets others have the thread in between", async () => {
    let [turns, drawing] = [0, true];
    const others = () => {
      turns++;
      if (drawing) setImmediate(others);
    };
    setImmediate(others);
    const noise = await draw();
    drawing = false;
    // 4 x 256 x 256 numbers in pieces of 32768.
    expect(turns).toBeGreaterThanOrEqual(7);
    const whole = createRng("torch", 1).normal([4, 256, 256]);
    expect(noise[0]).toBe(whole[124 * 256 + 124]);
  });

  it("ends when it is aborted", async () => {
    const stop = new AbortController();
    setImmediate(() => stop.abort(new Error("enough")));
    await expect(draw({ signal: stop.signal })).rejects.toThrow("enough");
  });
});
