import { DiffusionError } from "../errors.js";

/** The DiffusionError that `run` throws; anything else that it throws, or nothing, fails the test. */
export function thrown(run: () => unknown): DiffusionError {
  try {
    run();
  } catch (error) {
    if (error instanceof DiffusionError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
