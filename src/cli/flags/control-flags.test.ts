import { InvalidArgumentError } from "commander";
import { describe, expect, test } from "vitest";
import { readControl, readIpAdapter } from "./control-flags.js";

describe("--control", () => {
  test("its settings", () => {
    expect(readControl("model=lllyasviel/sd-controlnet-canny,image=a.png")).toEqual({
      model: "lllyasviel/sd-controlnet-canny",
      image: "a.png",
    });
    expect(
      readControl("image=a.png, model=m, scale=0.5,start=0.1,end=0.9,guess,preprocess=canny,low=50,high=150"),
    ).toEqual({
      ...{ model: "m", image: "a.png", scale: 0.5, start: 0.1, end: 0.9, guess: true },
      preprocess: [{ name: "canny", low: 50, high: 150 }],
    });
    expect(readControl("model=m,image=a.png,preprocess=depth+invert,guess=false")).toEqual({
      ...{ model: "m", image: "a.png", preprocess: ["depth", "invert"], guess: false },
    });
  });

  test("holes for inpainting", () => {
    expect(readControl("model=m,image=a.png,mask=holes.png")).toEqual({
      ...{ model: "m", image: "a.png", mask: "holes.png" },
    });
  });

  test("file names may hold commas and equals signs", () => {
    expect(readControl("model=m,image=one, two=2,end.png,scale=2")).toEqual({
      model: "m",
      image: "one, two=2,end.png",
      scale: 2,
    });
  });

  test.each([
    ["model=m", "model and image"],
    ["modle=m,image=a", "did you mean model?"],
    ["model=m,image=a,scale=big", "scale must be a number, got big"],
    ["model=m,image=a,scale=1,scale=2", "scale is given twice"],
    ["model=m,image=a,low=3", "thresholds of preprocess=canny"],
    ["model=m,image=a,guess=maybe", "guess is given alone"],
  ])("refuses %s", (text, message) => {
    expect(() => readControl(text)).toThrow(InvalidArgumentError);
    expect(() => readControl(text)).toThrow(message);
  });
});

describe("--ip-adapter", () => {
  test("its settings, and several pictures", () => {
    expect(
      readIpAdapter("model=h94/IP-Adapter:models/ip-adapter_sd15.safetensors,image=dog.png,scale=0.6"),
    ).toEqual({
      ...{ model: "h94/IP-Adapter:models/ip-adapter_sd15.safetensors", image: "dog.png", scale: 0.6 },
    });
    expect(readIpAdapter("model=a.bin,image=dog.png,image=cat.png,end=0.5,imageEncoder=enc")).toEqual({
      ...{ model: "a.bin", image: ["dog.png", "cat.png"], end: 0.5, imageEncoder: "enc" },
    });
  });

  test.each([
    ["image=a", "model and image"],
    ["model=m", "model and image"],
    ["model=m,image=", "model and image"],
    ["model=m,model=n,image=a", "model is given twice"],
    ["model=m,image=a,scale=", "scale must be a number"],
  ])("refuses %s", (text, message) => {
    expect(() => readIpAdapter(text)).toThrow(message);
  });
});
