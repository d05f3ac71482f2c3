import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { testServer } from "../../fixture.js";

const body = { prompt: "a dog", negative_prompt: "blurry", width: 64, height: 64, steps: 4 };
let styles: string;

beforeAll(async () => {
  styles = join(await mkdtemp(join(tmpdir(), "styles-")), "styles.csv");
  await writeFile(
    styles,
    'name,prompt,negative_prompt\nink,"{prompt}, ink",photo\ntwice,{prompt} {prompt},\n',
  );
});

async function txt2img(request: object, file: string | undefined) {
  const server = await testServer(file === undefined ? {} : { styles: file });
  const answer = await server.send("POST", "/sdapi/v1/txt2img", { ...body, ...request });
  const { parameters = {}, info = "{}" } = (await answer.json()) as {
    parameters?: object;
    info?: string;
  };
  return { ...server, status: answer.status, parameters, info: JSON.parse(info) as object };
}

test("styles of the server's file are laid around the prompts, and listed with their words", async () => {
  const { send, ran, info, parameters } = await txt2img({ styles: ["ink"] }, styles);
  expect(ran).toMatchObject([{ prompt: "a dog, ink", negativePrompt: "blurry, photo" }]);
  expect(info).toMatchObject({
    prompt: "a dog, ink",
    all_negative_prompts: ["blurry, photo"],
    styles: ["ink"],
  });
  expect(info).not.toHaveProperty("comments");
  // The request comes back as it came.
  expect(parameters).toMatchObject({ prompt: "a dog", styles: ["ink"] });
  expect(await (await send("GET", "/sdapi/v1/prompt-styles")).json()).toEqual([
    { name: "ink", prompt: "{prompt}, ink", negative_prompt: "photo" },
    { name: "twice", prompt: "{prompt} {prompt}", negative_prompt: "" },
  ]);
  expect(await (await send("GET", "/styles")).json()).toEqual({
    styles: [
      { name: "ink", prompt: "{prompt}, ink", negativePrompt: "photo" },
      { name: "twice", prompt: "{prompt} {prompt}", negativePrompt: "" },
    ],
  });
});

test("styles that there are none of are ignored with a word, also where there is no file", async () => {
  for (const file of [undefined, styles]) {
    const { ran, info } = await txt2img({ styles: ["anime", "None", ""] }, file);
    expect(ran).toMatchObject([{ prompt: "a dog", negativePrompt: "blurry" }]);
    expect(info).toMatchObject({ comments: ["there is no style anime: ignored"] });
  }
});

test("a prompt that its styles make too long is refused before it fills the memory", async () => {
  const { status, ran } = await txt2img({ styles: Array(60).fill("twice") }, styles);
  expect([status, ran]).toEqual([422, []]);
});
