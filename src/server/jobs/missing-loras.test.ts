import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { testServer } from "../fixture.js";
import { withoutMissingLoras } from "./missing-loras.js";

const request = { kind: "generate", model: "m", count: 1, missingLoras: "ignore" } as const;

async function models() {
  const loraDir = await mkdtemp(join(tmpdir(), "loras-"));
  await writeFile(join(loraDir, "ink.safetensors"), "");
  return (await testServer({ loraDir })).parts.models;
}

test("only what is not there is left out, each name told once, and the rest of the prompt stays", async () => {
  const prompt = "a <lora:nonsense:0.5>(dog:1.2) <lora:ink:0.8:0.5>, <lyco:nonsense>a<b <lora: no one :1>";
  expect(withoutMissingLoras({ ...request, prompt }, 1, await models())).toEqual({
    request: { ...request, prompt: "a (dog:1.2) <lora:ink:0.8:0.5>, a<b " },
    sent: prompt,
    notes: ["Networks not found: nonsense, no one"],
  });
});

test("nothing is left out of a request that has all, or that may not do without", async () => {
  const all = { ...request, prompt: "a dog <lora:ink:1>" };
  expect(withoutMissingLoras(all, 1, await models())).toEqual({ request: all, notes: [] });
  const { missingLoras: _, ...strict } = { ...request, prompt: "a dog <lora:nonsense:1>" };
  expect(withoutMissingLoras(strict, 1, await models())).toEqual({ request: strict, notes: [] });
});

test("of what wildcards may name, only what was drawn is told", async () => {
  const known = await models();
  const wildcards = { style: ["<lora:ink:1>", "<lora:nonsense:1>"] };
  const prompt = "a dog __style__ <lora:{first|second}:1>";
  const told = Array.from({ length: 40 }, (_, seed) => {
    const {
      request: made,
      notes,
      sent,
    } = withoutMissingLoras({ ...request, prompt, wildcards }, seed, known);
    const style = made.prompt!.includes("<lora:ink:1>") ? "ink" : "nonsense";
    expect(sent).toMatch(new RegExp(`^a dog <lora:${style}:1> <lora:(first|second):1>$`));
    return `${style}: ${notes}`;
  });
  expect(new Set(told)).toEqual(
    new Set(
      ["first", "second"].flatMap((other) => [
        `ink: Networks not found: ${other}`,
        `nonsense: Networks not found: nonsense, ${other}`,
      ]),
    ),
  );
});
