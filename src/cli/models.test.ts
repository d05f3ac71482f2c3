import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng } from "../image/png.js";
import { describeModel } from "../pipeline/model-info.js";
import { jsonLines, openCli } from "../testing/cli-process.js";
import { goldenPath } from "../testing/golden.js";
import { commitOf, startHub, type TestHub } from "../testing/hub-server.js";

/** Commands on models, as processes; the hub is a server of the test. */

const { work, run, folder } = openCli();
const minutes = 5 * 60_000;
const tiny = goldenPath("models/tiny-sd1");

/** A model's files as the hub has them: weights lie on the other host. */
const repository = (path: string) =>
  Object.fromEntries(
    (readdirSync(path, { recursive: true }) as string[])
      .filter((file) => /\.(json|txt|safetensors)$/.test(file))
      .map((file) => [file, readFileSync(join(path, file), file.endsWith(".safetensors") ? null : "utf8")]),
  );

let hub: TestHub;
beforeAll(async () => {
  const files = repository(tiny);
  hub = await startHub({ "owner/tiny": { files }, "owner/gated": { files, gated: true } });
});
afterAll(() => hub.close());

const withHub = (env: Record<string, string> = {}) => ({ env: { HF_ENDPOINT: hub.url, ...env } });
const offline = { env: { HF_ENDPOINT: "http://127.0.0.1:9", HF_HUB_OFFLINE: "1" } };

describe("download", () => {
  test("fetches what the model needs, once, and says where it is", { timeout: minutes }, async () => {
    const first = await run(["download", "owner/tiny"], withHub());
    expect(first.code, first.stderr).toBe(0);
    const [, path] = /^(\S+) {2}\d+ files {2}commit aaaaaaaaaaaa\n$/.exec(first.stdout)!;
    expect(path).toMatch(/models--owner--tiny\/snapshots\/a{40}$/);
    const weights = "unet/diffusion_pytorch_model.safetensors";
    expect(readFileSync(join(path!, weights))).toEqual(readFileSync(join(tiny, weights)));
    const again = await run(["download", "owner/tiny", "--json"], offline);
    expect(jsonLines(again.stdout).at(-1)).toMatchObject({
      type: "done",
      repo: "owner/tiny",
      commit: commitOf("a"),
      folder: path,
    });
    const list = await run(["models", "list", "--json"]);
    expect(jsonLines(list.stdout)[0]!.hub).toEqual([
      expect.objectContaining({ name: "owner/tiny", bytes: expect.any(Number) }),
    ]);
    const info = await run(["models", "info", "owner/tiny"], offline);
    expect(info.stdout).toMatch(/^tiny: text to image, 64x64, sizes in steps of 8, PNDMScheduler$/m);
    expect(info.stdout).toMatch(/^UNet +UNet2DConditionModel +241\.3 k parameters +F32$/m);
  });

  test("explains gated repositories: the page, the token, which token", { timeout: minutes }, async () => {
    const none = await run(["download", "owner/gated"], withHub());
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toContain(
      "error: owner/gated is gated: its authors ask you to accept their conditions",
    );
    expect(none.stderr).toContain(`hint: Open ${hub.url}/owner/gated, accept them, make a token`);
    expect(none.stderr).toContain("set HF_TOKEN");
    const wrong = await run(["download", "owner/gated", "--json"], withHub({ HF_TOKEN: "hf_other" }));
    expect(jsonLines(wrong.stdout).at(-1)).toMatchObject({
      type: "error",
      code: "DOWNLOAD",
      message: expect.stringMatching(
        /^the token from HF_TOKEN may not read owner\/gated, a gated repository/,
      ),
      exitCode: 1,
    });
    expect(wrong.stdout + wrong.stderr + none.stderr).not.toContain("hf_other");
    const right = await run(["download", "owner/gated"], withHub({ HF_TOKEN: "hf_good" }));
    expect(right.code, right.stderr).toBe(0);
  });

  test("names what is not there", { timeout: minutes }, async () => {
    const gone = await run(["download", "owner/tinny"], withHub());
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringContaining("no repository owner/tinny") });
    const away = await run(["download", "owner/never"], offline);
    expect(away).toMatchObject({ code: 1, stderr: expect.stringContaining("HF_HUB_OFFLINE") });
    expect(await run(["download", "../etc"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Expected owner/name"),
    });
  });
});

describe("optimize", () => {
  test("fills the cache ahead of time; list shows it, clean takes it away", {
    timeout: minutes,
  }, async () => {
    const own = ["--cache-dir", join(folder(), "cache")];
    const args = ["optimize", tiny, "--precision", "fp16", "--json", ...own];
    const first = await run(args);
    expect(first.code, first.stderr).toBe(0);
    expect(jsonLines(first.stdout).at(-1)).toMatchObject({ type: "done", model: tiny, precision: "fp16" });
    const converted = async (): Promise<unknown> =>
      jsonLines((await run(["models", "list", "--json", ...own])).stdout)[0]!.converted;
    const found = (await converted()) as { precision: string; bytes: number }[];
    expect(found.map(({ precision }) => precision)).toEqual(["fp16", "fp16", "fp16"]);
    expect(found.every(({ bytes }) => bytes > 10_000)).toBe(true);
    const cleaned = await run(["models", "clean", "--all", ...own]);
    expect(cleaned.stdout.match(/^removed .* fp16, /gm)).toHaveLength(3);
    expect(await converted()).toEqual([]);
  });
});

describe("convert", () => {
  test("a single file to a folder that verifies and draws", { timeout: minutes }, async () => {
    const file = goldenPath("singlefile/tiny-sd1.safetensors");
    const cwd = folder();
    const args = ["convert", file, "made", "--config", tiny];
    const { stdout, stderr, code } = await run(args, { cwd });
    expect({ stdout, code }, stderr).toEqual({
      stdout: expect.stringMatching(/^made {2}[\d.]+ kB\n$/),
      code: 0,
    });
    expect(existsSync(join(cwd, "made/unet/diffusion_pytorch_model.safetensors"))).toBe(true);
    const verified = await run(["models", "verify", "made"], { cwd });
    expect(verified.stdout).toMatch(/^made: all \d+ tensors of 3 networks are there and fit the configs\n$/);
    const again = await run(args, { cwd });
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("exists already") });
    const long = `${"cat ".repeat(40)}hat`;
    const drawn = await run([long, "--model", "made", "--size", "32x32", "--steps", "1", "--out", "x.png"], {
      cwd,
    });
    expect(drawn.code, drawn.stderr).toBe(0);
    expect(drawn.stderr).toMatch(
      /^note: the prompt has \d+ tokens, of which 75 are used; ".*hat" is not seen/m,
    );
    expect(decodePng(readFileSync(join(cwd, "x.png"))).image).toMatchObject({ width: 32, height: 32 });
  });

  test("writes nothing of what could not be loaded", { timeout: minutes }, async () => {
    const cwd = folder();
    cpSync(tiny, join(cwd, "cut"), { recursive: true });
    truncateSync(join(cwd, "cut/vae/diffusion_pytorch_model.safetensors"), 5000);
    const { stderr, code } = await run(["convert", "cut", "made"], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*cut\/vae\/diffusion_pytorch_model\.safetensors/);
    expect(existsSync(join(cwd, "made"))).toBe(false);
  });
});

describe("models", () => {
  test("verify names the file, tensor or folder that is wrong", { timeout: minutes }, async () => {
    const cwd = folder();
    cpSync(tiny, join(cwd, "odd"), { recursive: true });
    const config = join(cwd, "odd/unet/config.json");
    const { layers_per_block: _, ...rest } = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(config, JSON.stringify({ ...rest, layers_per_block: 3 }));
    const { stderr, code } = await run(["models", "verify", "odd"], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*down_blocks\.0\.(resnets|attentions)\.\d/);
    mkdirSync(join(cwd, "empty"));
    expect(await run(["models", "info", "empty"], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("empty is empty"),
    });
  });

  test("info, and a clean that keeps what was used today", { timeout: minutes }, async () => {
    const info = await run(["models", "info", "butterflies-64", "--json"]);
    expect(jsonLines(info.stdout)).toMatchObject([
      { kind: "unconditional", size: 64, factor: 1, networks: [{ className: "UNet2DModel", tensors: 330 }] },
    ]);
    const { generationDefaults } = await describeModel("butterflies-64");
    const { steps, scheduler } = generationDefaults!;
    const told = (await run(["models", "info", "butterflies-64"])).stdout;
    expect(told).toMatch(
      new RegExp(`^where nothing is said: steps ${steps}, .*scheduler ${scheduler}$`, "m"),
    );
    const verify = await run(["models", "verify", "butterflies-64"]);
    expect(verify).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("all 330 tensors of 1 network"),
    });
    const own = join(work, "old-cache");
    const weights = join(own, "weights", "0".repeat(24));
    mkdirSync(weights, { recursive: true });
    writeFileSync(join(weights, "model.json"), JSON.stringify({ label: "some unet", precision: "fp32" }));
    expect((await run(["models", "list", "--cache-dir", own])).stdout).toContain("some unet  fp32");
    const gone = join(own, "weights", "1".repeat(24));
    mkdirSync(gone);
    const description = { label: "gone unet", precision: "fp16", sources: [[join(work, "no-such-model")]] };
    writeFileSync(join(gone, "model.json"), JSON.stringify(description));
    expect((await run(["models", "clean", "--cache-dir", own])).stdout).toMatch(
      /^removed gone unet fp16, [\d.]+ k?B\n.* freed .*\nkept some unet fp32, .*, used \d{4}-\d\d-\d\d$/m,
    );
    expect(existsSync(gone)).toBe(false);
    expect((await run(["models", "clean", "--cache-dir", own])).stdout).toMatch(/^0 B freed/);
    expect(existsSync(weights)).toBe(true);
    const cleaned = await run(["models", "clean", "--all", "--cache-dir", own]);
    expect(cleaned.stdout).toContain("removed some unet fp32");
    expect(existsSync(weights)).toBe(false);
  });
});
