import { expect, test } from "vitest";
import { schedulerEntries, takesEta } from "./catalog.js";
import { createScheduler, schedulerConfig } from "./scheduler.js";

const shape = [1, 2, 2, 1];

/** A run on a closed form in place of a network, with the same noise for everyone. */
function run(name: string, eta?: number): readonly number[] {
  const scheduler = createScheduler(name as "euler", {
    steps: 6,
    shape,
    ...(eta !== undefined && { eta }),
  });
  let sample: Float32Array = Float32Array.of(1, -0.5, 0.25, 2).map((x) => x * scheduler.initNoiseSigma);
  for (let i = 0; i < scheduler.timesteps.length && i < 500; i++) {
    const seen = scheduler.scaleInput(sample, i);
    const noise = () => Float32Array.of(0.3, -0.2, 0.5, -0.7);
    sample = scheduler.step(
      seen.map((x) => 0.4 * x + 0.1),
      i,
      sample,
      noise,
    );
  }
  return [...sample];
}

test.each(schedulerEntries)("$name: eta changes what it makes, or is noted", ({ name, className }) => {
  const config = name.startsWith("edm") ? { _class_name: className! } : schedulerConfig(name as "euler");
  const changed = JSON.stringify(run(name, 0.5)) !== JSON.stringify(run(name));
  expect(takesEta(config)).toBe(changed);
});
