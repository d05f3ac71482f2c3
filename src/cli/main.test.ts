import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseParameters } from "../image/parameters.js";
import { decodePng, encodePng } from "../image/png.js";
import { describeModel } from "../pipeline/model-info.js";
import { jsonLines, openCli } from "../testing/cli-process.js";
import { goldenExtra, goldenPath } from "../testing/golden.js";

/** Every test starts the program as a user does: a process, in a folder, with its streams. */

const { work, start, run, folder } = openCli();
const readPng = (path: string) => decodePng(readFileSync(path));
const small = ["--size", "64x64", "--steps", "2"];
const minutes = 5 * 60_000;

test("unconditional takes no prompt, upscale enlarges", { timeout: minutes }, async () => {
  const cwd = folder();
  const butterfly = await run(["unconditional", "--steps", "2", "--scheduler", "ddim", "--out", "b.png"], {
    cwd,
  });
  expect(butterfly.code, butterfly.stderr).toBe(0);
  expect(readPng(join(cwd, "b.png")).image).toMatchObject({ width: 64, height: 64 });
  const model = goldenPath("models/tiny-x4-upscaler");
  const enlarged = await run(
    ["upscale", "b.png", "a", "dog", "--model", model, "--steps", "1", "--out", "u.png"],
    { cwd },
  );
  expect(enlarged.code, enlarged.stderr).toBe(0);
  expect(readPng(join(cwd, "u.png")).image).toMatchObject({ width: 256, height: 256 });
  // Without a model, the included network.
  const included = await run(["upscale", "b.png", "--json"], { cwd });
  expect(included.code, included.stderr).toBe(0);
  const before = readPng(join(cwd, "b.png"));
  expect(before.text.parameters).toMatch(/Steps: 2, /);
  expect(readPng(join(cwd, "b-large.png"))).toMatchObject({
    image: { width: 256, height: 256 },
    text: { parameters: `${before.text.parameters}, Postprocess upscaler: emoji-x4-compact` },
  });
  // Of a picture that does not say how it was made.
  writeFileSync(join(cwd, "plain.png"), encodePng(before.image));
  expect((await run(["upscale", "plain.png"], { cwd })).code).toBe(0);
  expect(readPng(join(cwd, "plain-large.png")).text.parameters).toMatch(
    /^Postprocess upscaler: emoji-x4-compact, Size: 256x256, Version/,
  );
  const file = goldenExtra("upscalers/compact-x2.pth");
  const other = await run(["upscale", "b.png", "--model", file, "--scale", "1.5", "--out", "c.png"], { cwd });
  expect(other.code, other.stderr).toBe(0);
  expect(readPng(join(cwd, "c.png")).image).toMatchObject({ width: 96, height: 96 });
  expect(await run(["upscale", "b.png", "--steps", "3"], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("enlarges without --steps"),
  });
});

test("cheaper steps, a small decoder, memory given back", { timeout: minutes }, async () => {
  const model = ["--model", goldenPath("models/tiny-sd1"), "--taesd", goldenPath("models/tiny-taesd")];
  const args = ["a fox", ...model, "--size", "64x64", "--steps", "6", "--seed", "3", "--out", "fox.png"];
  const cheaper = [
    "--guidance-interval",
    "0.3,0.7",
    "--deep-cache",
    "2",
    "--token-merging",
    "0.5",
    "--unload",
  ];
  const cwd = folder();
  const made = await run([...args, ...cheaper], { cwd });
  expect(made.code, made.stderr).toBe(0);
  const { image, text: written } = readPng(join(cwd, "fox.png"));
  expect(image).toMatchObject({ width: 64, height: 64 });
  for (const part of ["Guidance interval: 0.3 to 0.7", "DeepCache interval: 2", "Token merging ratio: 0.5"])
    expect(written.parameters).toContain(part);
  expect(await run([...args, "--guidance-interval", "0.7"], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("0.2,0.8"),
  });
});

describe("a folder of pictures", () => {
  const picture = (side: number) =>
    encodePng({ width: side, height: side, data: new Uint8Array(side * side * 3).fill(90) });

  test("each becomes one under its name; one that fails is said at the end", {
    timeout: minutes,
  }, async () => {
    const cwd = folder();
    mkdirSync(join(cwd, "in"));
    writeFileSync(join(cwd, "in", "IMG 10.PNG"), picture(64));
    writeFileSync(join(cwd, "in", "IMG 2.png"), picture(72));
    writeFileSync(join(cwd, "in", "IMG 3.jpg"), "no picture");
    writeFileSync(join(cwd, "in", "notes.txt"), "");
    const args = ["--image", "in", "a cat", "--seed", "5", "--steps", "2", "--out", "made"];
    const { stdout, stderr, code } = await run(args, { cwd });
    expect({ stderr, code }).toMatchObject({
      stderr: expect.stringContaining("1 of 3 pictures failed"),
      code: 1,
    });
    expect(stderr).toMatch(/^ {2}IMG 3\.jpg: .*neither PNG, nor JPEG, WebP, GIF, TIFF or AVIF$/m);
    expect(stdout.trim().split("\n")).toEqual([
      expect.stringMatching(/^made\/IMG 2\.png {2}seed 5 {2}72x72 /),
      expect.stringMatching(/^made\/IMG 10\.png {2}seed 7 {2}64x64 /),
    ]);
    expect(readdirSync(join(cwd, "made")).sort()).toEqual(["IMG 10.png", "IMG 2.png"]);
  });

  test("upscale takes one, too; --json says which one failed", { timeout: minutes }, async () => {
    const cwd = folder();
    writeFileSync(join(cwd, "a.png"), picture(16));
    writeFileSync(join(cwd, "b.png"), "");
    const model = goldenPath("models/tiny-x4-upscaler");
    const args = ["upscale", ".", "--model", model, "--steps", "1", "--json", "--out", "large/", "a dog"];
    const { stdout, code } = await run(args, { cwd });
    expect(code).toBe(1);
    const lines = jsonLines(stdout);
    expect(lines.filter(({ type }) => type === "failed")).toMatchObject([
      { image: 1, source: "b.png", code: "BAD_IMAGE" },
    ]);
    expect(lines.at(-1)).toMatchObject({ type: "done", images: 1, failed: 1 });
    expect(readPng(join(cwd, "large", "a.png")).image).toMatchObject({ width: 64, height: 64 });
  });

  test("without pictures, or with a mistake in the options, there is one error", {
    timeout: minutes,
  }, async () => {
    const cwd = folder();
    mkdirSync(join(cwd, "none"));
    expect(await run(["a cat", "--image", "none"], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("error: there is no PNG, JPEG or WebP picture in none\n"),
    });
    for (const name of ["a.png", "b.png"]) writeFileSync(join(cwd, name), picture(64));
    const wrong = await run(["a cat", "--image", ".", "--strength", "1.5"], { cwd });
    expect(wrong).toMatchObject({ code: 2, stdout: "" });
    expect(wrong.stderr.match(/strength/g)).toHaveLength(1);
  });
});

describe("generate", () => {
  test("writes pictures, and says where, with which seed and how long", { timeout: minutes }, async () => {
    const cwd = folder();
    const args = [
      "a red car",
      "--seed",
      "7",
      "--count",
      "2",
      "--out",
      "new/car.png",
      "--clip-skip",
      "1",
      ...small,
    ];
    const { guidance } = (await describeModel("emoji-diffusion-256")).usual;
    const { stdout, stderr, code } = await run([...args, "--scheduler", "dpmpp_2m_karras"], { cwd });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("step 2/2") });
    expect(stdout.trim().split("\n")).toEqual([
      expect.stringMatching(/^new\/car-1\.png {2}seed 7 {2}64x64 {2}[\d.]+ s$/),
      expect.stringMatching(/^new\/car-2\.png {2}seed 8 {2}64x64 {2}[\d.]+ s$/),
    ]);
    expect(readdirSync(join(cwd, "new"))).toEqual(["car-1.png", "car-2.png"]);
    const [first, second] = ["car-1.png", "car-2.png"].map((name) => readPng(join(cwd, "new", name)));
    expect(first!.image).toMatchObject({ width: 64, height: 64 });
    expect(new Set(first!.image.data).size).toBeGreaterThan(20);
    expect(first!.image.data).not.toEqual(second!.image.data);
    expect(parseParameters(second!.text.parameters!)).toMatchObject({
      prompt: "a red car",
      steps: 2,
      sampler: "DPM++ 2M",
      scheduleType: "Karras",
      guidance, // the model's own
      seed: 8,
      size: { width: 64, height: 64 },
      model: "emoji-diffusion-256",
      clipSkip: 2,
    });
  });

  test("--json: one object a line, from the first event to the end", { timeout: minutes }, async () => {
    const cwd = folder();
    writeFileSync(join(cwd, "prompts.txt"), "a cat\n\n  a dog  \r\n");
    const args = ["--prompt-file", "prompts.txt", "--seed", "18446744073709551614", "--json", ...small];
    const { stdout, stderr, code } = await run(args, { cwd });
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    const lines = jsonLines(stdout);
    const steps = lines.filter(({ type }) => type === "step");
    expect(steps.map(({ image, step }) => [image, step])).toEqual([
      [0, 1],
      [0, 2],
      [1, 1],
      [1, 2],
    ]);
    expect(Object.keys(steps[0]!)).not.toContain("latents");
    expect(lines.filter(({ type }) => type === "image")).toMatchObject([
      { image: 0, path: join(cwd, "a-cat.png"), seed: "18446744073709551614", width: 64, height: 64 },
      { image: 1, path: join(cwd, "a-dog.png"), seed: "18446744073709551615", width: 64, height: 64 },
    ]);
    expect(lines.at(-1)).toMatchObject({ type: "done", images: 2 });
  });

  test("reads standard input, keeps what exists, shows previews", { timeout: minutes }, async () => {
    const cwd = folder();
    writeFileSync(join(cwd, "a-cat.png"), "mine");
    const { stdout, stderr, code } = await run(["-", "--preview", "now.png", "--seed", "1", ...small], {
      cwd,
      stdin: "a cat\n",
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^a-cat-2\.png /);
    expect(stderr).toContain("a-cat.png exists and stays");
    expect(readFileSync(join(cwd, "a-cat.png"), "utf8")).toBe("mine");
    expect(readPng(join(cwd, "now.png")).image).toMatchObject({ width: 8, height: 8 });
    const forced = await run(["a cat", "--force", "--quiet", "--seed", "1", ...small], { cwd });
    expect(forced).toMatchObject({ code: 0, stderr: "" });
    expect(readPng(join(cwd, "a-cat.png")).image).toEqual(readPng(join(cwd, "a-cat-2.png")).image);
  });

  test("Ctrl-C ends it with 130, and leaves no picture", { timeout: minutes }, async () => {
    const cwd = folder();
    const child = start(["a cat", "--size", "64x64", "--steps", "900", "--json", "--out", "cat.png"], {
      cwd,
    });
    let stdout = "";
    child.stdout!.on("data", (chunk: Buffer) => {
      const isFirst = !stdout.includes('"step"');
      stdout += chunk;
      if (isFirst && stdout.includes('"step"')) child.kill("SIGINT");
    });
    const [code] = await once(child, "close");
    expect(code).toBe(130);
    expect(jsonLines(stdout).at(-1)).toMatchObject({ type: "error", code: "ABORTED", exitCode: 130 });
    expect(readdirSync(cwd)).toEqual([]);
  });

  test("without arguments it explains itself with a picture", { timeout: minutes }, async () => {
    const cwd = folder();
    const { stdout, code } = await run([], { cwd });
    expect(code).toBe(0);
    expect(stdout).toContain("--help");
    expect(stdout).toContain('npx tfjs-diffusion "a dog with glasses" --seed 7\n');
    expect(stdout).toMatch(/"a dog with glasses" is in a-dog-with-glasses\.png, after .+\./);
    for (const next of [
      "serve\n",
      '"a dog with a top hat" --image a-dog-with-glasses.png --mask-area 0,0,256,115\n',
      "unconditional\n",
    ])
      expect(stdout).toContain(`\n  npx tfjs-diffusion ${next}`);
    // Sentences fit a terminal of 80 columns; commands are pasted as they are.
    const sentences = stdout.split("\n").filter((line) => !/npx tfjs-diffusion ["a-z]/.test(line));
    expect(sentences.filter((line) => line.length > 80)).toEqual([]);
    const { image, text } = readPng(join(cwd, "a-dog-with-glasses.png"));
    expect(image).toMatchObject({ width: 256, height: 256 });
    expect(text.parameters).toContain("Seed: 7");
  });
});

test.each([
  [
    "an unknown option",
    ["a cat", "--sed", "7"],
    2,
    "error: unknown option '--sed'\nhint: did you mean --seed?\n",
  ],
  ["a mistyped command", ["docter"], 2, "hint: did you mean doctor?"],
  ["a mistyped command before a file", ["upscal", "dog.png"], 2, "hint: did you mean upscale?"],
  [
    "a width between multiples",
    ["a cat", "--width", "500"],
    2,
    "error: width must be a multiple of 8, got 500\nhint: 496 or 504\n",
  ],
  ["text for a number", ["a cat", "--steps", "many"], 2, "Expected a number"],
  ["an unknown scheduler", ["a cat", "--scheduler", "eulr"], 2, "did you mean euler?"],
  ["another picture format", ["a cat", "--out", "cat.jpg"], 2, "hint: --out cat.png"],
  ["a size given twice", ["a cat", "--size", "64x64", "--width", "64"], 2, "contradict"],
  ["no model there", ["a cat", "--model", "nowhere/else/at-all"], 1, "there is no model"],
  ["a folder that is a file", ["a cat", "--out", "package.json/cat.png"], 1, "a part of the path is a file"],
])("%s is refused", async (_what, args, code, message) => {
  const cwd = folder();
  writeFileSync(join(cwd, "package.json"), "{}");
  const result = await run(args, { cwd });
  expect(result).toMatchObject({ code, stdout: "" });
  expect(result.stderr).toContain(message);
  expect(result.stderr).not.toContain("    at ");
  expect(readdirSync(cwd)).toEqual(["package.json"]);
});

test("errors are JSON, too; --debug shows the trace", async () => {
  const { stdout, stderr, code } = await run(["a cat", "--json", "--stepz", "3"]);
  expect(code).toBe(2);
  expect(jsonLines(stdout)).toEqual([
    {
      type: "error",
      code: "BAD_OPTION",
      message: "unknown option '--stepz'",
      hint: "did you mean --steps?",
      exitCode: 2,
    },
  ]);
  expect(stderr).toBe("");
  const debug = await run(["a cat", "--debug", "--scheduler", "eulr"]);
  expect(debug.stderr).toMatch(/\n +at /);
});

describe("doctor", () => {
  test("finds what is there", { timeout: minutes }, async () => {
    const { stdout, code } = await run(["doctor", "--json"]);
    expect(code).toBe(0);
    const [report] = jsonLines(stdout) as [{ ok: boolean; findings: { name: string; value: string }[] }];
    expect(report.ok).toBe(true);
    const values = new Map(report.findings.map(({ name, value }) => [name, value]));
    expect(values.get("Node")).toBe(process.version);
    expect(values.get("TensorFlow")).toMatch(/^2\.\d+\.\d+, /);
    expect(values.get("oneDNN")).toMatch(/^(\d+\.\d+|off|on|version unknown)/);
    expect([...values.keys()]).toEqual(
      expect.arrayContaining(["CPU", "features", "memory", "cache", "emoji-diffusion-256"]),
    );
  });

  test("names a remedy for what is missing, and fails", { timeout: minutes }, async () => {
    const { stdout, code } = await run(["doctor"], { env: { TFJS_DIFFUSION_CACHE: "/dev/null/cache" } });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^cache +MISSING/m);
    expect(stdout).toMatch(/^cache: .*TFJS_DIFFUSION_CACHE/m);
  });
});

describe("the other commands", () => {
  test("tokens", async () => {
    const { stdout } = await run(["tokens", "a dog", "with glasses"]);
    expect(stdout).toBe("4 of 75 tokens\na | dog | with | glasses\n");
  });

  test("schedulers", async () => {
    const { stdout } = await run(["schedulers"]);
    expect(stdout).toMatch(/^dpmpp_2m +DPM\+\+ 2M +DPMSolverMultistepScheduler +2 +N +no +2211\.01095$/m);
  });

  test("png-info of a picture that is none", async () => {
    writeFileSync(join(work, "none.png"), "not a picture");
    expect(await run(["png-info", "none.png"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("PNG"),
    });
    expect(await run(["png-info", "gone.png"])).toMatchObject({
      code: 1,
      stderr: "error: gone.png: there is no such file\n",
    });
  });
});
