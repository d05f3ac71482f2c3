import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { descriptions, type OptionName } from "../../options/options.js";
import { type OptionCase, optionCases } from "../../testing/option-cases.js";
import { addGenerateOptions, type GenerateFlags } from "./generate-flags.js";
import { optionsOf } from "./options-of-flags.js";

const cases = optionCases();
const secondOf = (name: OptionName): unknown => (cases[name] as OptionCase).to[name];

/** Flags that are called otherwise, and what they become. */
const otherwise: Partial<Record<OptionName, readonly [args: readonly string[], value: unknown]>> = {
  negativePrompt: [["--negative", "a red castle"], "a red castle"],
  scheduler: [["--scheduler", "ddim"], "ddim"],
  deepCache: [["--deep-cache", "2"], { interval: 2 }],
  image: [["--image", "a.png"], "a.png"],
  mask: [["--mask", "a.png"], "a.png"],
  onlyMasked: [["--only-masked-padding", "4"], { padding: 4 }],
  expand: [["--expand", "left=32"], { left: 32 }],
  hires: [
    ["--hires-size", "96x64", "--hires-steps", "4", "--hires-strength", "0.4", "--hires-upscaler", "lanczos"],
    { width: 96, height: 64, steps: 4, strength: 0.4, upscaler: "lanczos" },
  ],
  controlnet: [
    ["--control", "model=a,image=b,mask=c,scale=0.5"],
    [{ model: "a", image: "b", mask: "c", scale: 0.5 }],
  ],
  ipAdapter: [["--ip-adapter", "model=a,image=b,scale=0.5"], [{ model: "a", image: "b", scale: 0.5 }]],
  preview: [["--preview", "a.png"], true],
  guidanceInterval: [
    ["--guidance-interval", "0.4,1"],
    [0.4, 1],
  ],
  freeu: [["--freeu", "1.5,1.6,0.9,0.2"], { b1: 1.5, b2: 1.6, s1: 0.9, s2: 0.2 }],
  pag: [["--pag", "3:up"], { scale: 3, layers: ["up"] }],
  wildcards: [["--wildcards", "lists"], "lists"],
};

/** Read where the pictures are counted out, or given as words without a flag. */
const elsewhere: readonly OptionName[] = ["prompt", "count", "variation"];
/** What no flag can say, or what is for programs. */
const without: readonly OptionName[] = [
  ...(["promptEmbeds", "negativePromptEmbeds", "prompt2", "negativePrompt2", "sizes", "seedSize"] as const),
  ...([
    "denoisingStart",
    "denoisingEnd",
    "tiles",
    "latents",
    "output",
    "signal",
    "stop",
    "onProgress",
  ] as const),
];

function read(args: readonly string[]) {
  const command = new Command().exitOverride();
  addGenerateOptions(command);
  command.parse([...args], { from: "user" });
  return optionsOf(command.opts<GenerateFlags>());
}

describe("an option has a flag that reaches the library, or stands among those that have none", () => {
  const flagged = descriptions.filter(([name, { flag }]) => flag !== undefined && !(name in otherwise));
  test("each is one or the other", () => {
    const all = [...flagged.map(([name]) => name), ...Object.keys(otherwise), ...elsewhere, ...without];
    expect(all.toSorted()).toEqual(descriptions.map(([name]) => name).toSorted());
  });

  test.each(flagged.map(([name, { flag }]) => [name, flag!] as const))("%s", (name, flag) => {
    const value = secondOf(name);
    const dashed = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const options = read(flag === "" ? [dashed] : [dashed, String(value)]);
    expect(options[name]).toEqual(value);
  });

  test.each(Object.entries(otherwise))("%s, under its own flags", (name, [args, value]) => {
    expect(read(args)[name as OptionName]).toEqual(value);
  });
});
