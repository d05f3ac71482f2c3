import { expect, test } from "vitest";
import { withStyles } from "./styles.js";

const style = (prompt: string, negativePrompt = "") => ({ name: "x", prompt, negativePrompt });
const prompts = { prompt: "a dog", negativePrompt: "blurry" };

test("words stand behind a prompt, or around it, one style after the other", () => {
  expect(withStyles(prompts, [])).toEqual(prompts);
  expect(withStyles(prompts, [style("oil painting", "photo")])).toEqual({
    prompt: "a dog, oil painting",
    negativePrompt: "blurry, photo",
  });
  expect(withStyles(prompts, [style("{prompt} in ink, {prompt}"), style("8k")]).prompt).toBe(
    "a dog in ink, a dog, 8k",
  );
  expect(
    withStyles({ prompt: "$& {prompt}", negativePrompt: "" }, [style("a {prompt} b", "{prompt}")]),
  ).toEqual({
    prompt: "a $& {prompt} b",
    negativePrompt: "",
  });
});

test("an empty side adds no comma", () => {
  expect(withStyles({ prompt: " ", negativePrompt: "" }, [style(" ink ", "")])).toEqual({
    prompt: "ink",
    negativePrompt: "",
  });
  expect(withStyles(prompts, [style("")]).prompt).toBe("a dog");
});
