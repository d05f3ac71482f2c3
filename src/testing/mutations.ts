import fc from "fast-check";
import { DiffusionError } from "../errors.js";

/** Changes up to eight bytes of sound ones, and cuts them off: a reader must answer, or throw a DiffusionError. */
export function readsMutations(
  sound: Uint8Array,
  read: (mutated: Buffer) => unknown,
  options: { numRuns: number },
): void {
  const mutation = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
  fc.assert(
    fc.property(
      fc.array(mutation, { minLength: 1, maxLength: 8 }),
      fc.nat(sound.length),
      (changes, length) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        for (const mutated of [bytes, bytes.subarray(0, length)])
          try {
            read(mutated);
          } catch (error) {
            if (!(error instanceof DiffusionError) || error.code === "INTERNAL") throw error;
          }
      },
    ),
    options,
  );
}
