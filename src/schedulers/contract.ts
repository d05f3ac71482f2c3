import { DiffusionError } from "../errors.js";
import type { Scheduler } from "./scheduler.js";

/**
 * A scheduler of the user's own that names what it does wrong, where it would otherwise end in a picture of noise: members
 * that are missing, timesteps that are no numbers, samples of another length.
 */
export function keepingContract(own: Scheduler): Scheduler {
  if (typeof own !== "object" || own === null)
    throw wrong(
      "a function that makes one must return an object with timesteps, scaleInput, step and addNoise",
    );
  for (const name of ["scaleInput", "step", "addNoise"] as const)
    if (typeof own[name] !== "function") throw wrong(`${name} is no function`);
  if (!(Number.isFinite(own.initNoiseSigma) && own.initNoiseSigma > 0))
    throw wrong(`initNoiseSigma must be a number above 0, got ${own.initNoiseSigma}`);
  const { timesteps } = own;
  if (timesteps === undefined || !(timesteps.length > 0))
    throw wrong("timesteps must be a list with at least one number");
  const odd = Array.from(timesteps).findIndex((timestep) => !Number.isFinite(timestep));
  if (odd >= 0) throw wrong(`timesteps[${odd}] is ${timesteps[odd]}`);
  const like = (name: string, result: Float32Array, sample: Float32Array): Float32Array => {
    if (result instanceof Float32Array && result.length === sample.length) return result;
    const got = result instanceof Float32Array ? `${result.length} numbers` : typeof result;
    throw wrong(
      `${name} must return a Float32Array of ${sample.length} numbers, as the sample has, got ${got}`,
    );
  };
  // Its lists may grow on the way, so they are read where they are.
  const kept: Scheduler = {
    get timesteps() {
      return own.timesteps;
    },
    get initNoiseSigma() {
      return own.initNoiseSigma;
    },
    scaleInput: (sample, step) => like("scaleInput", own.scaleInput(sample, step), sample),
    step: (output, step, sample, noise) => like("step", own.step(output, step, sample, noise), sample),
    addNoise: (clean, noise, step) => like("addNoise", own.addNoise(clean, noise, step), clean),
  };
  const { sigmas, brownian, clean } = own;
  if (clean !== undefined && typeof clean !== "function") throw wrong("clean is no function");
  return Object.defineProperties(kept, {
    ...(sigmas && { sigmas: { get: () => own.sigmas, enumerable: true } }),
    ...(clean && {
      clean: {
        value: (output: Float32Array, step: number, sample: Float32Array) =>
          like("clean", clean.call(own, output, step, sample), sample),
        enumerable: true,
      },
    }),
    ...(brownian && { brownian: { value: brownian, enumerable: true } }),
  });
}

const wrong = (what: string): DiffusionError => new DiffusionError("BAD_OPTION", `scheduler: ${what}`);
