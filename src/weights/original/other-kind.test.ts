import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { goldenPath } from "../../testing/golden.js";
import { writeOriginal } from "../../testing/original-layout.js";
import { thrown } from "../../testing/thrown.js";
import { openFolder } from "../folder.js";
import { openModel } from "../model.js";

const folder = mkdtempSync(join(tmpdir(), "other-kind-"));
afterAll(() => rmSync(folder, { recursive: true }));
const folderOf = (tiny: string) => goldenPath(`models/${tiny}`);
const open = (path: string, config: string) =>
  openModel(path, { tokenizer: goldenPath("tokenizers/tokenizer-clip"), config: folderOf(config) });

/** The UNet alone with diffusers' names, or everything in the original layout. */
const layouts: Record<string, (tiny: string) => string> = {
  "diffusers' names": (tiny) => {
    const path = join(folder, `${tiny}-unet.safetensors`);
    copyFileSync(openFolder(folderOf(tiny)).unet.weights.path, path);
    return path;
  },
  "the original layout": (tiny) => {
    const path = join(folder, `${tiny}.safetensors`);
    writeOriginal(path, openFolder(folderOf(tiny)));
    return path;
  },
};

test.each(
  Object.keys(layouts).flatMap((layout) => [
    [
      layout,
      "tiny-sd1",
      "tiny-sdxl",
      "takes 4 channels and a text of width 72",
      "4 channels and a text of width 32",
    ],
    [layout, "tiny-sd1", "tiny-sd1-inpaint", "takes 9 channels", "4 channels"],
    [layout, "tiny-sd1-inpaint", "tiny-sd1", "takes 4 channels", "9 channels"],
  ]),
)("%s: %s with the config of %s is said to be of another kind", (layout, tiny, config, lent, own) => {
  const path = layouts[layout!]!(tiny!);
  const error = thrown(() => open(path, config!));
  expect([error.code, error.hint]).toEqual([
    "MODEL_KIND",
    expect.stringContaining("the family that the file is of"),
  ]);
  expect(error.message).toMatch(
    `${path}: config is a model of another kind: its UNet (${folderOf(config!)}) ${lent}`,
  );
  expect(error.message).toContain(`the file's takes ${own}`);
});

test.each(Object.keys(layouts))("%s: one of its own kind lends what it has", (layout) => {
  expect(open(layouts[layout]!("tiny-sd1-inpaint"), "tiny-sd1-inpaint").unet.config.in_channels).toBe(9);
});
