import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DiffusionError } from "../errors.js";
import type { ProgressEvent } from "../events.js";
import { goldenPath, readTensors } from "../testing/golden.js";
import {
  commitOf,
  gitId,
  type Seen,
  sendBytes,
  sha256,
  startHub,
  type TestHub,
} from "../testing/hub-server.js";
import { stateArchive } from "../testing/torch-writer.js";
import { openComponentFolder } from "../weights/folder.js";
import { fetchFromHub, type HubOptions, parseHubReference } from "./hub.js";
import { hubSettings } from "./settings.js";

const bytes = (length: number, seed: number) =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 97 + (i >> 8)) & 255));

const unet = bytes(300_000, 1);
const pipeline = {
  "model_index.json": JSON.stringify({
    _class_name: "StableDiffusionPipeline",
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    scheduler: ["diffusers", "PNDMScheduler"],
    safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
    image_encoder: [null, null],
    requires_safety_checker: true,
  }),
  "unet/config.json": '{"u":1}',
  "unet/diffusion_pytorch_model.safetensors": unet,
  "unet/diffusion_pytorch_model.fp16.safetensors": bytes(150_000, 2),
  "unet/diffusion_pytorch_model.bin": bytes(1000, 3),
  "unet/diffusion_pytorch_model.non_ema.safetensors": bytes(1000, 4),
  "vae/config.json": '{"v":1}',
  "vae/diffusion_pytorch_model.safetensors": bytes(40_000, 5),
  "text_encoder/config.json": '{"t":1}',
  "text_encoder/model.safetensors": bytes(50_000, 6),
  "text_encoder/model.fp16.safetensors": bytes(25_000, 7),
  "text_encoder/pytorch_model.bin": bytes(1000, 8),
  "tokenizer/vocab.json": '{"a":0}',
  "tokenizer/merges.txt": "#version\n",
  "tokenizer/special_tokens_map.json": "{}",
  "scheduler/scheduler_config.json": "{}",
  "safety_checker/model.safetensors": bytes(1000, 9),
  "v1-5-pruned.safetensors": bytes(1000, 10),
  "README.md": "# a model",
};

const plain = [
  "model_index.json",
  "scheduler/scheduler_config.json",
  "text_encoder/config.json",
  "text_encoder/model.safetensors",
  "tokenizer/merges.txt",
  "tokenizer/special_tokens_map.json",
  "tokenizer/vocab.json",
  "unet/config.json",
  "unet/diffusion_pytorch_model.safetensors",
  "vae/config.json",
  "vae/diffusion_pytorch_model.safetensors",
];

let hub: TestHub;
let cache: string;
beforeEach(async () => {
  cache = mkdtempSync(join(tmpdir(), "hub-"));
  hub = await startHub({ "owner/model": { files: pipeline, refs: ["fp16", "refs/pr/3"] } });
});
afterEach(async () => {
  await hub.close();
  rmSync(cache, { recursive: true });
});

/** Only what a test says is in the environment. */
const fetch = (reference: string, options: HubOptions = {}) =>
  fetchFromHub(reference, {
    retryDelay: 1,
    ...options,
    env: { HF_HUB_CACHE: cache, HF_ENDPOINT: hub.url, HOME: cache, ...options.env },
  });

const isUnet = ({ host, path }: Seen) => host === "cdn" && path === `/${sha256(unet)}`;
const unetRequests = () => hub.seen.filter(isUnet);
const unetOnly: HubOptions = { components: ["unet"] };
const blobs = () => readdirSync(join(cache, "models--owner--model/blobs"));
/** By hash: comparing Buffers element by element takes vitest a second. */
const unetHash = (folder: string) =>
  sha256(readFileSync(join(folder, "unet/diffusion_pytorch_model.safetensors")));

describe("parseHubReference", () => {
  it.each([
    ["owner/name", { repo: "owner/name" }],
    ["owner/na.me-1@fp16", { repo: "owner/na.me-1", revision: "fp16" }],
    [
      "owner/name@refs/pr/3:a/b.safetensors",
      { repo: "owner/name", revision: "refs/pr/3", file: "a/b.safetensors" },
    ],
    ["owner/name:b.safetensors", { repo: "owner/name", file: "b.safetensors" }],
  ])("%s", (text, parts) => expect(parseHubReference(text)).toEqual(parts));

  it.each([
    "name",
    "a/b/c",
    "./a/b",
    "../a",
    "/a/b",
    "a/..",
    "C:\\a",
    "a/b:../c",
    "a/b@../c",
    "a--b/c",
    "a/b:",
    "",
  ])("%j is none", (text) => expect(parseHubReference(text)).toBeUndefined());
});

describe("a pipeline", () => {
  it("downloads what is needed, and nothing else", async () => {
    const { folder, files, commit } = await fetch("owner/model");
    expect([...files].sort()).toEqual(plain);
    expect(commit).toBe(commitOf("a"));
    for (const [name, data] of Object.entries(pipeline))
      if (plain.includes(name)) expect(sha256(readFileSync(join(folder, name)))).toBe(sha256(data));
      else expect(existsSync(join(folder, name))).toBe(false);
  });

  it("lies in the cache as the Python tools lay it out", async () => {
    const { folder } = await fetch("owner/model");
    const root = join(cache, "models--owner--model");
    expect(folder).toBe(join(root, "snapshots", commitOf("a")));
    expect(readFileSync(join(root, "refs/main"), "utf8")).toBe(commitOf("a"));
    expect(readlinkSync(join(folder, "unet/diffusion_pytorch_model.safetensors"))).toBe(
      join("../../../blobs", sha256(unet)),
    );
    expect(readlinkSync(join(folder, "model_index.json"))).toBe(
      join("../../blobs", gitId(pipeline["model_index.json"])),
    );
    expect(blobs()).toHaveLength(
      new Set(plain.map((name) => String(pipeline[name as keyof typeof pipeline]))).size,
    );
  });

  it("takes the variant where there is one", async () => {
    const { files } = await fetch("owner/model", { variant: "fp16" });
    expect(files.filter((file) => file.endsWith(".safetensors")).sort()).toEqual([
      "text_encoder/model.fp16.safetensors",
      "unet/diffusion_pytorch_model.fp16.safetensors",
      "vae/diffusion_pytorch_model.safetensors",
    ]);
  });

  it("asks for nothing twice", async () => {
    await fetch("owner/model");
    hub.seen.length = 0;
    const events: ProgressEvent[] = [];
    await fetch("owner/model", { onProgress: (event) => void events.push(event) });
    expect(hub.seen.map(({ path }) => path)).toEqual(["/api/models/owner/model/revision/main"]);
    expect(events).toEqual([]);
    hub.seen.length = 0;
    await fetch(`owner/model@${commitOf("a")}`);
    expect(hub.seen).toEqual([]);
  });

  it("fetches the shards that the index names", async () => {
    const shard = (i: number) => `diffusion_pytorch_model-0000${i}-of-00002.safetensors`;
    hub.repos["owner/sharded"] = {
      files: {
        "model_index.json": '{"unet":["diffusers","UNet2DConditionModel"]}',
        "unet/config.json": "{}",
        "unet/diffusion_pytorch_model.safetensors.index.json": JSON.stringify({
          weight_map: { a: shard(1), b: shard(2), c: shard(1) },
        }),
        [`unet/${shard(1)}`]: bytes(2000, 1),
        [`unet/${shard(2)}`]: bytes(3000, 2),
        "unet/diffusion_pytorch_model-00003-of-00003.safetensors": bytes(10, 3),
      },
    };
    const { files, folder } = await fetch("owner/sharded");
    expect(files).toHaveLength(5);
    expect(readFileSync(join(folder, "unet", shard(2)))).toEqual(bytes(3000, 2));
    expect((await fetch("owner/sharded", { offline: true })).files).toEqual(files);
  });

  it("copies where links are not wanted", async () => {
    const { folder } = await fetch("owner/model", { ...unetOnly, env: { HF_HUB_DISABLE_SYMLINKS: "1" } });
    const path = join(folder, "unet/diffusion_pytorch_model.safetensors");
    expect(lstatSync(path).isSymbolicLink()).toBe(false);
    expect(unetHash(folder)).toBe(sha256(unet));
  });

  it("tells its progress: totals from the start, growing, complete", async () => {
    const events: Extract<ProgressEvent, { type: "download" }>[] = [];
    await fetch("owner/model", { onProgress: (event) => event.type === "download" && events.push(event) });
    const size = plain.reduce(
      (sum, name) => sum + Buffer.from(pipeline[name as keyof typeof pipeline]).length,
      0,
    );
    for (const name of plain) {
      const received = events.filter(({ file }) => file === name).map((event) => event.received);
      expect(received).toEqual([...received].sort((a, b) => a - b));
      expect(received.at(-1)).toBe(Buffer.from(pipeline[name as keyof typeof pipeline]).length);
    }
    expect(events.at(-1)?.overall).toMatchObject({ received: size, total: size, etaMs: 0 });
  });
});

describe("other repositories", () => {
  it("does not take a lone file of a commit for all that there is", async () => {
    await fetch(`owner/model@${commitOf("a")}:v1-5-pruned.safetensors`);
    expect([...(await fetch(`owner/model@${commitOf("a")}`)).files].sort()).toEqual(plain);
  });

  it("one network", async () => {
    hub.repos["owner/vae"] = {
      files: { "config.json": "{}", "diffusion_pytorch_model.safetensors": bytes(100, 1) },
    };
    expect((await fetch("owner/vae")).files).toEqual(["config.json", "diffusion_pytorch_model.safetensors"]);
  });

  it("one file, by name or because it is the only one", async () => {
    const { file, files } = await fetch("owner/model:v1-5-pruned.safetensors");
    expect(files).toEqual(["v1-5-pruned.safetensors"]);
    expect(readFileSync(file ?? "")).toEqual(pipeline["v1-5-pruned.safetensors"]);
    hub.repos["owner/lora"] = {
      files: { "pytorch_lora_weights.safetensors": bytes(100, 1), "README.md": "" },
    };
    expect(readFileSync((await fetch("owner/lora")).file ?? "")).toEqual(bytes(100, 1));
  });

  it("the adapter among other files, with what says how to use it", async () => {
    hub.repos["owner/peft"] = {
      files: {
        "adapter_config.json": '{"lora_alpha": 8}',
        "adapter_model.safetensors": bytes(100, 1),
        "optimizer.safetensors": bytes(100, 2),
        "sub/adapter_config.json": '{"lora_alpha": 4}',
        "sub/adapter_model.safetensors": bytes(100, 3),
      },
    };
    for (const [reference, folder] of [
      ["owner/peft", ""],
      ["owner/peft:sub/adapter_model.safetensors", "sub/"],
    ] as const) {
      const { file, files } = await fetch(reference);
      expect(files).toEqual([`${folder}adapter_model.safetensors`, `${folder}adapter_config.json`]);
      expect(existsSync(join(dirname(file!), "adapter_config.json"))).toBe(true);
      expect((await fetch(reference, { offline: true })).files).toEqual(files);
    }
    hub.repos["owner/concept"] = {
      files: { "learned_embeds.bin": bytes(100, 4), "token_identifier.txt": "<cat-toy>" },
    };
    expect(readFileSync((await fetch("owner/concept")).file!)).toEqual(bytes(100, 4));
  });

  it("one network's weights by name, with its configuration", async () => {
    const { file, files } = await fetch("owner/model:vae/diffusion_pytorch_model.safetensors");
    expect(files).toEqual(["vae/diffusion_pytorch_model.safetensors", "vae/config.json"]);
    expect(file).toMatch(/vae\/diffusion_pytorch_model\.safetensors$/);
  });

  it("another revision, with its own ref", async () => {
    await fetch("owner/model@refs/pr/3", unetOnly);
    expect(readFileSync(join(cache, "models--owner--model/refs/refs/pr/3"), "utf8")).toBe(commitOf("a"));
  });

  it.each([
    [
      "several files",
      { "a.safetensors": bytes(1, 1), "b.safetensors": bytes(1, 2) },
      "a.safetensors, b.safetensors",
    ],
    ["no weights", { "README.md": "x" }, "README.md"],
    [
      "weights of another kind",
      { "config.json": "{}", "model.onnx": bytes(1, 1) },
      "has no weights as .safetensors or .bin",
    ],
    ["a broken model_index", { "model_index.json": "<html>" }, "holds no JSON object"],
    [
      "a shard outside",
      {
        "config.json": "{}",
        "model.safetensors.index.json": '{"weight_map":{"a":"../../../../x.safetensors"}}',
      },
      "names the shard",
    ],
  ])("%s: says what is there", async (_, files, message) => {
    hub.repos["owner/odd"] = { files };
    await expect(fetch("owner/odd")).rejects.toThrow(message);
  });
});

describe("repositories from before safetensors", () => {
  it("give their pickles, half-precision ones where those are wished for", async () => {
    const { "model_index.json": index, ...files } = pipeline;
    const old = Object.entries(files).flatMap(([path, data]) => {
      if (!path.endsWith(".safetensors")) return [[path, data]];
      if (/non_ema|pruned/.test(path)) return [];
      return [[path.replace("/model", "/pytorch_model").replace(".safetensors", ".bin"), data]];
    });
    hub.repos["owner/old"] = { files: { "model_index.json": index, ...Object.fromEntries(old) } };
    expect([...(await fetch("owner/old")).files].filter((file) => file.endsWith(".bin")).sort()).toEqual([
      "text_encoder/pytorch_model.bin",
      "unet/diffusion_pytorch_model.bin",
      "vae/diffusion_pytorch_model.bin",
    ]);
    expect((await fetch("owner/old", { variant: "fp16" })).files).toContain(
      "unet/diffusion_pytorch_model.fp16.bin",
    );
    hub.repos["owner/ckpt"] = { files: { "model.ckpt": bytes(10, 1), "README.md": "x" } };
    expect((await fetch("owner/ckpt")).file).toMatch(/model\.ckpt$/);
  });

  it("are read, and nothing of them is run", async () => {
    const tensors = readTensors(goldenPath("models/tiny-taesd/diffusion_pytorch_model.safetensors"));
    const config = readFileSync(goldenPath("models/tiny-taesd/config.json"), "utf8");
    hub.repos["owner/taesd"] = {
      files: { "config.json": config, "diffusion_pytorch_model.bin": stateArchive(tensors) },
    };
    const { folder } = await fetch("owner/taesd");
    const checkpoint = openComponentFolder(folder).open();
    for (const [name, { data }] of tensors) expect(checkpoint.readFloat32(name)).toEqual(data);
    checkpoint.close();
  });

  it("may be in shards", async () => {
    const tensors = [...readTensors(goldenPath("models/tiny-taesd/diffusion_pytorch_model.safetensors"))];
    const config = readFileSync(goldenPath("models/tiny-taesd/config.json"), "utf8");
    const shard = (i: number) => `pytorch_model-0000${i % 2}-of-00002.bin`;
    hub.repos["owner/sharded-pickles"] = {
      files: {
        "model_index.json": '{"vae": ["diffusers", "AutoencoderTiny"]}',
        "vae/config.json": config,
        "vae/diffusion_pytorch_model.bin.index.json": JSON.stringify({
          weight_map: Object.fromEntries(tensors.map(([name], i) => [name, shard(i)])),
        }),
        [`vae/${shard(0)}`]: stateArchive(tensors.filter((_, i) => i % 2 === 0)),
        [`vae/${shard(1)}`]: stateArchive(tensors.filter((_, i) => i % 2 === 1)),
      },
    };
    const { folder, files } = await fetch("owner/sharded-pickles");
    expect(files).toHaveLength(5);
    const checkpoint = openComponentFolder(join(folder, "vae")).open();
    for (const [name, { data }] of tensors) expect(checkpoint.readFloat32(name)).toEqual(data);
    checkpoint.close();
    expect((await fetch("owner/sharded-pickles", { offline: true })).files).toEqual(files);
    const lost = join(folder, "vae", shard(1));
    rmSync(lost);
    await expect(fetch("owner/sharded-pickles", { offline: true })).rejects.toThrow(shard(1));
  });
});

describe("bad lines", () => {
  it("continues after ten cuts at random bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(60_000), { minLength: 10, maxLength: 10 }), async (cuts) => {
        const left = [...cuts];
        hub.fault = (seen, response) => {
          if (!isUnet(seen) || left.length === 0) return false;
          const send = response.end.bind(response);
          response.end = ((body?: Buffer) => {
            const length = left.pop()!;
            if (!body || length >= body.length) return send(body);
            return response.write(body.subarray(0, length), () => response.destroy());
          }) as typeof response.end;
          return false;
        };
        const { folder } = await fetch("owner/model", unetOnly);
        expect(unetHash(folder)).toBe(sha256(unet));
        expect(blobs().filter((name) => name.endsWith(".incomplete"))).toEqual([]);
        rmSync(join(cache, "models--owner--model"), { recursive: true });
      }),
      { numRuns: 5 },
    );
  });

  /** Cuts the first transfer of the UNet at this byte. */
  const cutOnce = (at: number) => {
    let isCut = false;
    return (seen: Seen, response: Parameters<NonNullable<TestHub["fault"]>>[1]) => {
      if (!isUnet(seen) || isCut) return false;
      isCut = true;
      response.writeHead(200, { etag: '"v1"', "content-length": unet.length });
      response.write(unet.subarray(0, at), () => response.destroy());
      return true;
    };
  };

  it("sends Range with the If-Range of the server that sends the bytes", async () => {
    hub.fault = cutOnce(100_000);
    const { folder } = await fetch("owner/model", unetOnly);
    expect(unetHash(folder)).toBe(sha256(unet));
    const [first, second] = unetRequests();
    expect(first?.headers.range).toBeUndefined();
    expect(second?.headers["if-range"]).toBe('"v1"');
    expect(second?.headers.range).toMatch(/^bytes=\d+-$/);
  });

  it("starts again when a Range is answered with everything", async () => {
    const cut = cutOnce(100_000);
    hub.fault = (seen, response) => {
      if (cut(seen, response)) return true;
      if (!isUnet(seen)) return false;
      sendBytes({ headers: {}, method: "GET" }, response, unet, '"v1"');
      return true;
    };
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
    expect(unetRequests()).toHaveLength(2);
  });

  it("does not trust a part from elsewhere in the file", async () => {
    let answers = 0;
    const cut = cutOnce(100_000);
    hub.fault = (seen, response) => {
      if (cut(seen, response)) return true;
      if (!isUnet(seen) || answers++ > 0) return false;
      response
        .writeHead(206, { "content-range": `bytes 7-${unet.length - 1}/${unet.length}` })
        .end(unet.subarray(7));
      return true;
    };
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
  });

  it("continues what an aborted call left, and frees the lock", async () => {
    const abort = new AbortController();
    hub.fault = (seen, response) => {
      if (!isUnet(seen)) return false;
      response.writeHead(200, { "content-length": unet.length });
      response.write(unet.subarray(0, 200_000)); // and then silence
      return true;
    };
    const stopped = fetch("owner/model", { ...unetOnly, signal: abort.signal });
    const partial = `${sha256(unet)}.incomplete`;
    const partialLength = () => readFileSync(join(cache, "models--owner--model/blobs", partial)).length;
    await vi.waitFor(() => expect(partialLength()).toBe(200_000), { timeout: 20_000 });
    abort.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    expect(readdirSync(join(cache, ".locks/models--owner--model"))).toEqual([]);
    expect(partialLength()).toBe(200_000);

    hub.fault = undefined;
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
    expect(unetRequests().at(-1)?.headers.range).toBe("bytes=200000-");
  });

  const leavePartial = (data: Buffer) => {
    const path = join(cache, "models--owner--model/blobs", `${sha256(unet)}.incomplete`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, data);
  };

  it.each([
    ["of other bytes", Buffer.alloc(1000)],
    ["that is too long", Buffer.alloc(unet.length + 5)],
    ["of the right length and wrong bytes", Buffer.alloc(unet.length)],
    ["that is whole", unet],
    ["that is empty", Buffer.alloc(0)],
  ])("recovers from a partial file %s", async (_, data) => {
    leavePartial(data);
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
  });

  it("refuses bytes that do not hash to their name", async () => {
    hub.fault = (seen, response) => {
      if (isUnet(seen))
        sendBytes({ headers: seen.headers, method: "GET" }, response, Buffer.alloc(unet.length), '"v1"');
      return isUnet(seen);
    };
    await expect(fetch("owner/model", unetOnly)).rejects.toThrow("arrived damaged");
    expect(existsSync(join(cache, "models--owner--model/refs/main"))).toBe(false);
    expect(blobs()).not.toContain(sha256(unet));
    hub.fault = undefined;
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
  });

  it("checks small files by git's id", async () => {
    hub.fault = ({ method, path }, response) => {
      const hit = method === "GET" && path.endsWith("unet/config.json");
      if (hit) sendBytes({ headers: {}, method }, response, Buffer.from('{"u":2}'), `"${gitId('{"u":1}')}"`);
      return hit;
    };
    await expect(fetch("owner/model", unetOnly)).rejects.toThrow("arrived damaged");
  });

  it("refuses more bytes than announced", async () => {
    hub.fault = (seen, response) => {
      if (isUnet(seen)) response.writeHead(200).end(Buffer.concat([unet, unet]));
      return isUnet(seen);
    };
    await expect(fetch("owner/model", unetOnly)).rejects.toThrow("longer than");
  });

  it("follows a file that changes while it is downloaded", async () => {
    const changed = bytes(300_000, 77);
    let asked = 0;
    hub.fault = (seen, response) => {
      const isFile = seen.path.endsWith("unet/diffusion_pytorch_model.safetensors");
      if (isUnet(seen) || !isFile || seen.method !== "GET" || asked++ > 0) return false;
      hub.repos["owner/model"] = {
        files: { ...pipeline, "unet/diffusion_pytorch_model.safetensors": changed },
      };
      response.writeHead(200, { etag: `"${sha256(changed)}"` }).end(changed);
      return true;
    };
    leavePartial(unet.subarray(0, 1234));
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(changed));
  });

  it("waits as long as a busy server asks", async () => {
    const answers = [
      [429, { "retry-after": "0" }],
      [503, {}],
      [500, { "retry-after": new Date(0).toUTCString() }],
    ] as const;
    let failures = 0;
    hub.fault = (seen, response) => {
      const next = seen.path.includes("/revision/") ? answers[failures++] : undefined;
      if (next) response.writeHead(next[0], next[1]).end();
      return next !== undefined;
    };
    await fetch("owner/model", unetOnly);
    expect(failures).toBe(4);
  });

  it.each([
    ["fails for good", 503, {}, "answered 503"],
    ["asks for an hour", 429, { "retry-after": "3600" }, "asks to wait 3600 seconds"],
  ])("gives up on a server that %s", async (_, status, headers, message) => {
    hub.fault = (_seen, response) => Boolean(response.writeHead(status, headers).end());
    await expect(fetch("owner/model")).rejects.toMatchObject({
      code: "DOWNLOAD",
      message: expect.stringContaining(message),
    });
  });

  it("times out on a server that says nothing", async () => {
    hub.fault = () => true;
    const env = { HF_HUB_ETAG_TIMEOUT: "0.05" };
    await expect(fetch("owner/model", { env })).rejects.toThrow("sent nothing for 0.05 s");
  });
});

describe("hostile answers", () => {
  it("keeps names inside the snapshot", async () => {
    hub.fault = ({ path }, response) => {
      if (!path.includes("/revision/")) return false;
      const siblings = ["../../../evil.safetensors", "/etc/x.safetensors", "a\\..\\b.safetensors"];
      response.end(
        JSON.stringify({ sha: commitOf("a"), siblings: siblings.map((rfilename) => ({ rfilename })) }),
      );
      return true;
    };
    await expect(fetch("owner/model")).rejects.toThrow("it holds nothing");
  });

  it.each(["../../../evil", ".", "a/b", "x".repeat(300), ""])("refuses the etag %j", async (etag) => {
    hub.fault = ({ method }, response) => {
      if (method === "HEAD") response.writeHead(200, { etag: `"${etag}"`, "content-length": 5 }).end();
      return method === "HEAD";
    };
    await expect(fetch("owner/model")).rejects.toThrow("without its hash or size");
  });

  it("refuses a file that is empty, by an etag that is no hash", async () => {
    hub.fault = ({ method }, response) => {
      if (method === "HEAD") response.writeHead(200, { etag: '"0"', "x-linked-size": 0 }).end();
      return method === "HEAD";
    };
    await expect(fetch("owner/model")).rejects.toThrow("without its hash or size");
  });

  it.each(["../../evil", "main", 5, commitOf("A")])("refuses the commit %j", async (sha) => {
    hub.fault = ({ path }, response) => {
      if (path.includes("/revision/")) response.end(JSON.stringify({ sha, siblings: [] }));
      return path.includes("/revision/");
    };
    await expect(fetch("owner/model")).rejects.toThrow("did not answer as the hub does");
  });

  it("answers whatever the hub says with a snapshot or a DiffusionError, and keeps no wrong blob", async () => {
    const header = fc.oneof(
      fc.string({ unit: "grapheme-ascii" }),
      fc.constantFrom("0", "-1", "1e3", '"a"', "bytes 0-1/2"),
    );
    const names = ["etag", "x-linked-etag", "x-linked-size", "content-range", "location", "x-error-code"];
    const answer = fc.record({
      nth: fc.nat(8),
      status: fc.constantFrom(200, 206, 301, 302, 307, 400, 401, 403, 404, 410, 416, 500),
      headers: fc.dictionary(fc.constantFrom(...names), header),
      body: fc.oneof(fc.json(), fc.string()),
    });
    await fc.assert(
      fc.asyncProperty(answer, async ({ nth, status, headers, body }) => {
        let requests = 0;
        hub.fault = (_, response) => {
          if (requests++ !== nth) return false;
          response.writeHead(status, headers).end(body);
          return true;
        };
        await fetch("owner/model", unetOnly).then(
          ({ folder }) => expect(unetHash(folder)).toBe(sha256(unet)),
          (error: unknown) => {
            if (!(error instanceof DiffusionError) || error.code === "INTERNAL") throw error;
          },
        );
        const root = join(cache, "models--owner--model");
        for (const name of existsSync(join(root, "blobs")) ? blobs() : []) {
          if (name.endsWith(".incomplete") || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name)) continue;
          const data = readFileSync(join(root, "blobs", name));
          expect([sha256(data), gitId(data.toString())]).toContain(name);
        }
        rmSync(root, { recursive: true, force: true });
      }),
      { numRuns: 150 },
    );
  });

  it("stops going in circles", async () => {
    hub.fault = ({ path }, response) => Boolean(response.writeHead(302, { location: path }).end());
    await expect(fetch("owner/model")).rejects.toThrow("redirects more than 10 times");
  });

  it("checks the disk before it downloads", async () => {
    hub.repos["owner/huge"] = { files: { "x.safetensors": bytes(10, 1) }, claimedSize: 8e15 };
    await expect(fetch("owner/huge")).rejects.toMatchObject({
      code: "DISK",
      message: expect.stringContaining("needs 8000000.00 GB"),
    });
    expect(hub.seen.filter(({ host }) => host === "cdn")).toEqual([]);
  });
});

describe("tokens and refusals", () => {
  it("sends the token to the hub and to nobody else", async () => {
    await fetch("owner/model", { ...unetOnly, env: { HF_TOKEN: "hf_good" } });
    const tokens = (host: string) =>
      new Set(hub.seen.filter((seen) => seen.host === host).map((seen) => seen.headers.authorization));
    expect(tokens("hub")).toEqual(new Set(["Bearer hf_good"]));
    expect(tokens("cdn")).toEqual(new Set([undefined]));
  });

  it.each([
    ["the option", { token: "hf_good" }, ""],
    ["HF_TOKEN", { env: { HF_TOKEN: " hf_good\n" } }, ""],
    ["HF_TOKEN_PATH", { env: { HF_TOKEN_PATH: "~/secret" } }, "secret"],
    ["HF_HOME", { env: { HF_HOME: "~/hf" } }, "hf/token"],
    ["XDG_CACHE_HOME", { env: { XDG_CACHE_HOME: "~/xdg" } }, "xdg/huggingface/token"],
    ["the default file", {}, ".cache/huggingface/token"],
  ])("finds the token in %s", async (_, options: HubOptions, file) => {
    if (file) {
      mkdirSync(dirname(join(cache, file)), { recursive: true });
      writeFileSync(join(cache, file), "hf_good\n");
    }
    hub.repos["owner/gated"] = { files: pipeline, gated: true };
    await fetch("owner/gated", { ...unetOnly, ...options });
  });

  it("keeps a token to itself where the endpoint is not encrypted, unless it is told so", () => {
    const env = { HF_TOKEN: "hf_good" };
    const of = (more: Record<string, string>) => hubSettings({ env: { ...env, ...more } });
    for (const HF_ENDPOINT of [
      "http://mirror.example",
      "http://127.0.0.1.evil.example",
      "http://localhost.evil:80",
    ])
      expect(of({ HF_ENDPOINT })).toMatchObject({ withheld: "HF_TOKEN" });
    expect(of({ HF_ENDPOINT: "http://mirror.example" })).not.toHaveProperty("token");
    for (const HF_ENDPOINT of [
      "https://mirror.example",
      "http://localhost:1",
      "http://127.0.0.1:1",
      "http://[::1]:1",
    ])
      expect(of({ HF_ENDPOINT })).toMatchObject({ token: { value: "hf_good" } });
    const told = of({ HF_ENDPOINT: "http://mirror.example", TFJS_DIFFUSION_TOKEN_OVER_HTTP: "1" });
    expect(told).toMatchObject({ token: { value: "hf_good" } });
  });

  it("refuses a token that is none, without showing it", async () => {
    const error = await fetch("owner/model", { env: { HF_TOKEN: "hf_a\r\nx: y" } }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "BAD_OPTION", message: expect.not.stringContaining("hf_a") });
  });

  it("explains a gated repository: which page, which token", async () => {
    hub.repos["owner/gated"] = { files: pipeline, gated: true };
    await expect(fetch("owner/gated")).rejects.toMatchObject({
      message: expect.stringContaining("owner/gated is gated"),
      hint: expect.stringMatching(/Open http:.*\/owner\/gated, accept.*settings\/tokens.*HF_TOKEN/),
    });
    const error = await fetch("owner/gated", { env: { HF_TOKEN: "hf_bad" } }).catch((e: unknown) => e);
    expect(error).toMatchObject({
      message: expect.stringContaining("the token from HF_TOKEN may not read owner/gated"),
      hint: expect.stringContaining("/owner/gated, accept its conditions"),
    });
    expect(JSON.stringify(error) + String(error)).not.toContain("hf_bad");
  });

  it.each([
    ["owner/modle", "no repository owner/modle", "Did you mean owner/model?"],
    ["runwayml/stable-diffusion-v1-5", "no repository", "stable-diffusion-v1-5/stable-diffusion-v1-5"],
    ["owner/model@fp61", "no revision fp61", "Did you mean fp16?"],
    [
      "owner/model:v1-5-prunde.safetensors",
      "no file v1-5-prunde.safetensors",
      "owner/model:v1-5-pruned.safetensors",
    ],
  ])("%s: guesses what was meant", async (reference, message, hint) => {
    await expect(fetch(reference)).rejects.toMatchObject({
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    });
  });

  it("uses no token that it was not given where the environment says so", async () => {
    const env = { HF_HUB_DISABLE_IMPLICIT_TOKEN: "1", HF_TOKEN: "hf_good" };
    hub.repos["owner/gated"] = { files: pipeline, gated: true };
    await expect(fetch("owner/gated", { env })).rejects.toThrow("owner/gated is gated");
    await fetch("owner/gated", { ...unetOnly, env, token: "hf_good" });
  });

  it("finds a mirror below a path", async () => {
    const mirror = createServer((asked, answer) => {
      const path = asked.url!.replace(/^\/mirror\/hf(?=\/)/, "");
      if (path === asked.url) return void answer.writeHead(404).end();
      const { host: _, ...headers } = asked.headers;
      const passed = httpRequest(hub.url + path, { method: asked.method!, headers }, (got) => {
        answer.writeHead(got.statusCode!, got.headers);
        got.pipe(answer);
      });
      passed.end();
    });
    await new Promise<void>((resolve) => mirror.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = mirror.address() as AddressInfo;
      const env = { HF_ENDPOINT: `http://127.0.0.1:${port}/mirror/hf/` };
      expect(unetHash((await fetch("owner/model", { ...unetOnly, env })).folder)).toBe(sha256(unet));
    } finally {
      mirror.close();
    }
  });

  it.each(["ftp://x", "not a url"])("refuses the endpoint %s", async (HF_ENDPOINT) => {
    await expect(fetch("owner/model", { env: { HF_ENDPOINT } })).rejects.toMatchObject({
      code: "BAD_OPTION",
    });
  });
});

describe("without a connection", () => {
  it("answers from the cache, and asks nobody", async () => {
    const online = await fetch("owner/model");
    hub.seen.length = 0;
    for (const name of ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
      expect(await fetch("owner/model", { env: { [name]: "1" } })).toEqual(online);
    expect(await fetch("owner/model:unet/config.json", { offline: true })).toMatchObject({
      files: ["unet/config.json"],
    });
    expect(hub.seen).toEqual([]);
  });

  it("says what is missing", async () => {
    await expect(fetch("owner/model", { offline: true })).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: expect.stringContaining("owner/model@main is not in the cache"),
      hint: expect.stringContaining("HF_HUB_OFFLINE"),
    });
    await fetch("owner/model", unetOnly);
    await expect(fetch("owner/model", { offline: true })).rejects.toThrow(
      /only partly in the cache: .*(vae|text_encoder)\/config\.json/,
    );
    await expect(fetch("owner/model@v2", { offline: true })).rejects.toMatchObject({
      hint: expect.stringContaining("main"),
    });
    await expect(fetch("owner/modle", { offline: true })).rejects.toMatchObject({
      hint: expect.stringContaining("owner/model"),
    });
  });

  it("does not count a link whose blob is gone", async () => {
    await fetch("owner/model", unetOnly);
    rmSync(join(cache, "models--owner--model/blobs", sha256(unet)));
    await expect(fetch("owner/model", { ...unetOnly, offline: true })).rejects.toThrow("partly");
    expect(unetHash((await fetch("owner/model", unetOnly)).folder)).toBe(sha256(unet));
  });

  it("falls back to the cache when the hub cannot be reached", async () => {
    const online = await fetch("owner/model");
    const env = { HF_ENDPOINT: "http://127.0.0.1:1" };
    expect(await fetch("owner/model", { env })).toEqual(online);
    await expect(fetch("owner/other", { env })).rejects.toThrow("no answer from 127.0.0.1:1");
  });
});

describe("several at once", () => {
  it("two calls download each file once", async () => {
    const [one, two] = await Promise.all([fetch("owner/model"), fetch("owner/model")]);
    expect(one).toEqual(two);
    expect(hub.seen.filter(({ host }) => host === "cdn")).toHaveLength(3);
  });

  it("one failure stops the rest and leaves no lock", async () => {
    hub.fault = ({ path, method }, response) => {
      const hit = method === "GET" && path.endsWith("vae/config.json");
      if (hit) response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
      return hit;
    };
    await expect(fetch("owner/model")).rejects.toThrow("has no file vae/config.json");
    expect(readdirSync(join(cache, ".locks/models--owner--model"))).toEqual([]);
  });

  it("stops before it starts when the signal is aborted", async () => {
    await expect(fetch("owner/model", { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
    expect(hub.seen).toEqual([]);
  });
});
