import type { GenerateFlags } from "./generate-flags.js";
import { invocation, say } from "./session.js";

const prompt = "a dog with glasses";

/** What the program does without arguments: it explains itself, and makes a picture. */
export const welcome = {
  prompt,
  /** Prints what there is to know first, and returns the sample's options. */
  flags(): GenerateFlags {
    say(`Pictures from words, on this machine's CPU.

  ${invocation} "a red car on the street" --out car.png     make a picture
  ${invocation} --help                                      all commands and options
  ${invocation} doctor                                      what is installed, what is missing

The first picture, as if you had typed:

  ${invocation} "${prompt}" --seed 7 --steps 20 --scheduler dpmpp_2m --guidance 5
`);
    return { seed: 7, steps: 20, scheduler: "dpmpp_2m", guidance: 5 };
  },
};
