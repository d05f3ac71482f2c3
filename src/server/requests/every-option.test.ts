import { cp, mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { GenerateOptions, OptionName } from "../../options/options.js";
import { goldenExtra, goldenPath } from "../../testing/golden.js";
import { type OptionCase, optionCases } from "../../testing/option-cases.js";
import { type TestServer, testServer } from "../fixture.js";
import { libraryOptions } from "../jobs/library-options.js";
import { generateRequest, type StoredGenerate } from "./request.js";

let server: TestServer;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "every-option-"));
  const [controlDir, ipAdapterDir] = [join(folder, "controls"), goldenExtra("ip-adapter")];
  await mkdir(controlDir);
  await cp(goldenPath("models/tiny-controlnet"), join(controlDir, "tiny-controlnet"), { recursive: true });
  server = await testServer({ controlDir, ipAdapterDir, wildcards: { animal: ["cat"] } });
});

/** As a request has it: pictures in base64, files by their names on the server, lists of words on the server alone. */
function onTheWire(value: unknown, key = ""): unknown {
  if (Buffer.isBuffer(value)) return value.toString("base64");
  if (key === "wildcards") return true;
  if (key === "model") return basename(String(value)).replace(/\.safetensors$/, "");
  if (key === "ipAdapter")
    return [value].flat().map((one) => onTheWire({ ...(one as object), image: picture }));
  if (Array.isArray(value)) return value.map((one) => onTheWire(one));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, onTheWire(inner, name)]));
}
const cases = optionCases();
const isCase = (entry: [string, OptionCase | string]): entry is [string, OptionCase] =>
  typeof entry[1] === "object" && !entry[0].includes(".");
const all = Object.entries(cases).filter(isCase) as [OptionName, OptionCase][];
const picture = ((cases.image as OptionCase).to.image as Buffer).toString("base64");

const known = new Set(Object.keys(generateRequest.shape));
/** Values that nothing on the wire can be, or that are the caller's own. */
const local: readonly OptionName[] = ["latents", "promptEmbeds", "negativePromptEmbeds", "stop"];

const post = async (options: GenerateOptions) => {
  const answer = await server.send("POST", "/jobs", onTheWire(options));
  return { status: answer.status, body: (await answer.json()) as { id: string } };
};

describe("an option of a request reaches the library, or is refused by its name", () => {
  const taken = all.filter(([name, { model }]) => known.has(name) && model === "sd1");
  test.each(taken)("%s", async (name, { to }) => {
    const { status, body } = await post(to);
    expect([status, body]).toEqual([202, expect.anything()]);
    await server.parts.jobs.ended(body.id);
    const ran = server.ran.at(-1) as StoredGenerate;
    const { parts } = server;
    const options = { ...(await libraryOptions(ran, parts.models, parts.images.get)), count: ran.count };
    const got: unknown = options[name];
    // What the server makes of pictures, files and lists is its own affair.
    if (["image", "mask", "controlnet", "ipAdapter", "wildcards"].includes(name)) expect(got).toBeDefined();
    else expect(got).toEqual(to[name]);
  });

  const others = all.filter(([name]) => !known.has(name) && !local.includes(name));
  test.each(others)("%s, which requests have not", async (name, { to }) => {
    const { status, body } = await post({ prompt: "a cat", [name]: to[name] });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining(name)]);
  });

  const ofOthers = all.filter(([name, { model }]) => known.has(name) && model !== "sd1");
  test.each(ofOthers)("%s, which this model does not take", async (name, { to }) => {
    const { status, body } = await post({ prompt: "a cat", [name]: to[name] });
    expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining(name)]);
  });
});
