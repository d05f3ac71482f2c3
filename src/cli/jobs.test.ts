import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { thrown } from "../testing/thrown.js";
import { jobsOf } from "./jobs.js";

const root = mkdtempSync(join(tmpdir(), "jobs-"));
afterAll(() => rmSync(root, { recursive: true }));

function folderOf(...names: string[]): string {
  const folder = mkdtempSync(join(root, "in-"));
  for (const name of names) writeFileSync(join(folder, name), "");
  return folder;
}

const given = { perPrompt: 1, modelName: "some-model" };

test("without a folder: each prompt so many times, named after it, or after the model", () => {
  expect(jobsOf(["A cat", "a dog"], { ...given, perPrompt: 2 }).map(({ name }) => name)).toEqual([
    "a-cat",
    "a-cat",
    "a-dog",
    "a-dog",
  ]);
  expect(jobsOf([], { ...given, image: "one.png" })).toEqual([{ name: "some-model" }]);
});

test("every picture of a folder, 2 before 10, with every prompt", () => {
  const image = folderOf("b10.webp", "b2.JPG", ".hidden.png", "readme.txt", "A.jpeg");
  mkdirSync(join(image, "folder.png"));
  const names = (prompts: string[]) => jobsOf(prompts, { ...given, image }).map(({ name }) => name);
  expect(names(["a cat"])).toEqual(["A", "b2", "b10"]);
  expect(names([])).toEqual(["A", "b2", "b10"]);
  expect(names(["a cat", "a dog"])).toEqual([
    "A-a-cat",
    "A-a-dog",
    "b2-a-cat",
    "b2-a-dog",
    "b10-a-cat",
    "b10-a-dog",
  ]);
  expect(jobsOf(["a cat"], { ...given, image })[1]).toEqual({
    name: "b2",
    prompt: "a cat",
    image: join(image, "b2.JPG"),
  });
});

test("masks of the same names beside them", () => {
  const [image, mask] = [folderOf("a.jpg", "b.jpg"), folderOf("a.png", "b.png", "c.png")];
  expect(jobsOf([], { ...given, image, mask }).map((job) => job.mask)).toEqual([
    join(mask, "a.png"),
    join(mask, "b.png"),
  ]);
  const one = join(mask, "a.png");
  expect(jobsOf([], { ...given, image, mask: one })[1]).not.toHaveProperty("mask");
  expect(thrown(() => jobsOf([], { ...given, image, mask: folderOf("a.png") }))).toMatchObject({
    code: "FILE_MISSING",
    message: expect.stringContaining("b.jpg"),
  });
  expect(thrown(() => jobsOf([], { ...given, image: "a.jpg", mask })).code).toBe("BAD_OPTION");
});

test("a folder without pictures is an error", () => {
  expect(thrown(() => jobsOf([], { ...given, image: folderOf("a.txt") }))).toMatchObject({
    code: "FILE_MISSING",
    message: expect.stringContaining("no PNG, JPEG or WebP"),
  });
});
