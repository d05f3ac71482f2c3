import { expect, it, vi } from "vitest";
import { DiffusionError, nearest } from "./errors.js";

it("an error of another copy of the library is one, and nothing else is", async () => {
  vi.resetModules();
  const copy = await import("./errors.js");
  expect(copy.DiffusionError).not.toBe(DiffusionError);
  const error = new copy.DiffusionError("DISK", "full");
  expect(error).toBeInstanceOf(DiffusionError);
  expect(new DiffusionError("DISK", "full")).toBeInstanceOf(copy.DiffusionError);
  expect(new DiffusionError("DISK", "full")).toBeInstanceOf(Error);
  for (const other of [new Error("full"), { code: "DISK" }, null, "full"])
    expect((other as unknown) instanceof DiffusionError).toBe(false);
  expect(Object.keys(error)).not.toContain("Symbol(tfjs-diffusion.DiffusionError)");
});

it("the nearest name is one that may be a slip", () => {
  expect(nearest("stpes", ["steps", "seed"])).toBe("steps");
  // Letters in each other's place are one slip, and two wrong letters are two.
  expect(nearest("stpes", ["sizes", "steps"])).toBe("steps");
  expect(nearest("colour", ["steps", "seed"])).toBeUndefined();
});
