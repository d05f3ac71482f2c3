/** The set-up's parts against a tiny wheel of our own, served by a package index on the loopback interface. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findCompiler, isInstalled, isOfficialUnasked, place } from "./addon.mjs";
import { checkHash, download, findOnIndex, packageIndex, sha256 } from "./download.mjs";
import { cacheFolder, checkSpace, makeCacheFolder, unpack } from "./library.mjs";
import { withLock } from "./lock.mjs";
import { isBuildStale, missingPackages } from "./packages.mjs";
import { errorLine, run } from "./run.mjs";
import { checkIntegrity, hasTfjsNode, tarEntries } from "./tfjs-node.mjs";
import { firstForged, isUnchanged } from "./verify.mjs";
import { extractEntry, zipEntries } from "./zip.mjs";

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "setup-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
const write = (path, content = "") => {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
};

/** A zip with entries `{ name: text }`; every second one is deflated, and local headers carry an extra field. */
function zipOf(files) {
  const extra = Buffer.alloc(9);
  const locals = [];
  const directory = [];
  let offset = 0;
  for (const [index, [name, text]] of Object.entries(files).entries()) {
    const data = Buffer.from(text);
    const packed = index % 2 ? deflateRawSync(data) : data;
    const fields = Buffer.alloc(26); // version to name length, the same in both records
    fields.writeUInt16LE(index % 2 ? 8 : 0, 4);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(data.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.from(fields);
    local.writeUInt16LE(extra.length, 24);
    const record = Buffer.concat([Buffer.from("PK\x03\x04"), local, Buffer.from(name), extra, packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), fields, rest, Buffer.from(name));
    locals.push(record);
    offset += record.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, central, end]);
}

/** Serves by `answer(request, response)`; `requests` collects what was asked for. */
async function serve(answer, work) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response, requests.length);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${server.address().port}`, requests);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe("zip", () => {
  it("reads stored and deflated entries", async () => {
    const files = { "a/stored.txt": "stored", "a/deflated.txt": "deflated ".repeat(1000) };
    write(join(folder, "x.zip"), zipOf(files));
    const entries = await zipEntries(join(folder, "x.zip"));
    expect([...entries.keys()]).toEqual(Object.keys(files));
    for (const [name, text] of Object.entries(files)) {
      await extractEntry(entries.get(name), join(folder, "out"));
      expect(readFileSync(join(folder, "out"), "utf8")).toBe(text);
    }
  });

  it("refuses a file that is cut off, by name", async () => {
    const whole = zipOf({ a: "1", b: "2" });
    write(join(folder, "x.zip"), whole.subarray(0, whole.length - 30));
    await expect(zipEntries(join(folder, "x.zip"))).rejects.toThrow(/x\.zip is not a zip file/);
  });
});

describe("unpack", () => {
  const wheel = { libraries: ["libtensorflow_cc.so.2"] };

  it("leaves no folder behind when the wheel lacks a file, and starts over after an interrupted run", async () => {
    const target = join(folder, "tensorflow");
    write(join(folder, "x.whl"), zipOf({ "tensorflow/libtensorflow_cc.so.2": "library" }));
    await expect(unpack(wheel, join(folder, "x.whl"), target)).rejects.toThrow(/c_api\.h/);
    expect(existsSync(target)).toBe(false);

    write(join(`${target}.part`, "lib", "left over"), "half");
    const source = readFileSync(fileURLToPath(new URL("./library.mjs", import.meta.url)), "utf8");
    const headers = [...source.matchAll(/^ {2}"(\S+\.h)",$/gm)].map((match) => match[1]);
    const files = Object.fromEntries(headers.map((name) => [`tensorflow/include/${name}`, `// ${name}`]));
    write(join(folder, "x.whl"), zipOf({ ...files, "tensorflow/libtensorflow_cc.so.2": "library" }));
    await unpack(wheel, join(folder, "x.whl"), target);
    expect(readFileSync(join(target, "lib", "libtensorflow_cc.so.2"), "utf8")).toBe("library");
    expect(readFileSync(join(target, "include", "tensorflow", "c", "c_api.h"), "utf8")).toBe(
      "// tensorflow/c/c_api.h",
    );
    expect(existsSync(join(target, "lib", "left over"))).toBe(false);
    expect(existsSync(`${target}.part`)).toBe(false);
  });
});

describe("download", () => {
  const bytes = Buffer.from("0123456789".repeat(5000));
  const ranged = (request, response) => {
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, { "content-length": bytes.length - start });
    response.end(bytes.subarray(start));
  };
  const target = () => join(folder, "x.whl");

  it("continues where an earlier run stopped", () =>
    serve(ranged, async (url, requests) => {
      write(`${target()}.part`, bytes.subarray(0, 12_345));
      await download(`${url}/x`, target(), hashOf(bytes));
      expect(readFileSync(target()).equals(bytes)).toBe(true);
      expect(requests.map((request) => request.headers.range)).toEqual(["bytes=12345-"]);
      expect(existsSync(`${target()}.part`)).toBe(false);
    }));

  it("continues after a connection that closed early", () =>
    serve(
      (request, response, count) => {
        if (count > 1) return ranged(request, response);
        response.writeHead(200, { "content-length": bytes.length });
        response.write(bytes.subarray(0, 20_000), () => setTimeout(() => response.destroy(), 50));
      },
      async (url, requests) => {
        await download(`${url}/x`, target(), hashOf(bytes));
        expect(readFileSync(target()).equals(bytes)).toBe(true);
        expect(requests).toHaveLength(2);
        expect(requests[1].headers.range).toMatch(/^bytes=[1-9]\d*-$/);
      },
    ));

  it("starts over when the server knows no ranges, or when the left part was of another file", async () => {
    const whole = (_request, response) => response.end(bytes);
    for (const answer of [whole, ranged])
      await serve(answer, async (url) => {
        write(`${target()}.part`, "something else");
        await download(`${url}/x`, target(), hashOf(bytes));
        expect(readFileSync(target()).equals(bytes)).toBe(true);
      });
  });

  it("gives up on a server that stays silent, and keeps what came", () =>
    serve(
      (_request, response) => {
        response.writeHead(200, { "content-length": bytes.length });
        response.write(bytes.subarray(0, 1000));
      },
      async (url) => {
        const call = download(`${url}/x`, target(), hashOf(bytes), { attempts: 1, stallMs: 300 });
        await expect(call).rejects.toThrow(/nothing received for 0.3 s/);
        expect(readFileSync(`${target()}.part`)).toHaveLength(1000);
      },
    ));

  it("refuses another file than the pinned one, and keeps none of it", () =>
    serve(ranged, async (url) => {
      const call = download(`${url}/x`, target(), hashOf("other"));
      await expect(call).rejects.toThrow(`SHA-256 ${hashOf(bytes)}, expected ${hashOf("other")}`);
      expect(existsSync(target()) || existsSync(`${target()}.part`)).toBe(false);
    }));

  it("says what a server answered, once", () =>
    serve(
      (_request, response) => response.writeHead(403).end(),
      async (url, requests) => {
        await expect(download(`${url}/x`, target(), hashOf(bytes))).rejects.toThrow(`${url}/x answered 403`);
        expect(requests).toHaveLength(1);
      },
    ));

  it("hashes files", async () => {
    write(target(), "abc"); // FIPS 180-2, appendix B.1
    expect(await sha256(target())).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    await expect(checkHash(target(), hashOf("abd"))).rejects.toThrow(/deleted/);
    expect(existsSync(target())).toBe(false);
  });
});

describe("package index", () => {
  const file = "tensorflow_cpu-2.18.1-cp311-cp311-manylinux_2_17_x86_64.whl";

  it("finds a file in JSON (PEP 691) and HTML (PEP 503), relative and absolute, with a login kept to its host", async () => {
    const json = (_request, response) =>
      response
        .writeHead(200, { "content-type": "application/vnd.pypi.simple.v1+json" })
        .end(JSON.stringify({ files: [{ filename: file, url: `../../files/${file}` }] }));
    await serve(json, async (url, requests) => {
      const index = url.replace("//", "//me:p%40ss@");
      const found = await findOnIndex(`${index}/simple`, "tensorflow-cpu", file);
      expect(found.href).toBe(`${index}/files/${file}`);
      expect(requests[0].url).toBe("/simple/tensorflow-cpu/");
      expect(requests[0].headers.authorization).toBe(`Basic ${btoa("me:p@ss")}`);
    });
    const html = (_request, response) =>
      response
        .writeHead(200, { "content-type": "text/html" })
        .end(
          `<a href="other.whl">o</a> <a data-x="1" href="http://files.test/a/${file}#sha256=00">${file}</a>`,
        );
    await serve(html, async (url) => {
      const index = `${url.replace("//", "//me:secret@")}/simple/`;
      expect((await findOnIndex(index, "tensorflow-cpu", file)).href).toBe(`http://files.test/a/${file}`);
      await expect(findOnIndex(index, "tensorflow-cpu", "absent.whl")).rejects.toThrow(
        `${url}/simple/tensorflow-cpu/ does not list absent.whl`,
      );
    });
  });

  it("is the one that pip would use", () => {
    write(
      join(folder, ".config", "pip", "pip.conf"),
      "[global]\ntimeout = 60\nindex-url = https://mirror.test/simple\n",
    );
    expect(packageIndex({ HOME: folder })).toBe("https://mirror.test/simple");
    expect(packageIndex({ HOME: folder, PIP_INDEX_URL: "https://other.test/" })).toBe("https://other.test/");
    expect(packageIndex({ HOME: folder, PIP_CONFIG_FILE: "/dev/null" })).toMatch(/^https:\/\/pypi\.org\//);
  });
});

describe("lock", () => {
  const path = () => join(folder, "setup.lock");
  const owner = (pid, host = hostname()) => `${JSON.stringify({ pid, host, token: "t" })}\n`;
  const deadPid = () => spawnSync(process.execPath, ["-e", ""]).pid;

  it("lets one in at a time, also several processes that find a dead one's lock", async () => {
    write(path(), owner(deadPid()));
    const log = join(folder, "log");
    const script = `
      import { appendFileSync } from "node:fs";
      import { withLock } from ${JSON.stringify(new URL("./lock.mjs", import.meta.url).href)};
      await withLock(${JSON.stringify(path())}, async () => {
        appendFileSync(${JSON.stringify(log)}, "in ");
        await new Promise((resolve) => setTimeout(resolve, 30));
        appendFileSync(${JSON.stringify(log)}, "out ");
      }, { pollMs: 5 });`;
    const ends = Array.from({ length: 6 }, () => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
      return new Promise((resolve) => child.on("close", resolve));
    });
    expect(await Promise.all(ends)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(readFileSync(log, "utf8")).toBe("in out ".repeat(6));
    expect(existsSync(path())).toBe(false);
  });

  it("takes over what a power cut left", async () => {
    write(path());
    utimesSync(path(), new Date(), new Date(Date.now() - 60_000));
    expect(await withLock(path(), () => "mine", { pollMs: 5 })).toBe("mine");
  });

  it("waits for a living owner and is free after an error", async () => {
    write(path(), owner(process.pid));
    let entered = false;
    const waiting = withLock(path(), () => Promise.reject(new Error("inside")), { pollMs: 5 }).catch(
      (error) => {
        entered = true;
        return error.message;
      },
    );
    await sleep(100);
    expect(entered).toBe(false);
    rmSync(path());
    expect(await waiting).toBe("inside");
    expect(existsSync(path())).toBe(false);
  });

  it("believes another machine's lock while its heartbeat goes on", async () => {
    write(path(), owner(1, "elsewhere"));
    const waiting = withLock(path(), () => "mine", { pollMs: 5 });
    expect(await Promise.race([waiting, sleep(100, "waiting")])).toBe("waiting");
    utimesSync(path(), new Date(), new Date(Date.now() - 120_000));
    expect(await waiting).toBe("mine");
  });
});

describe("addon", () => {
  it("says how to get a compiler", async () => {
    const error = await findCompiler(["no-such-c++", "nor-this"]).catch((caught) => caught);
    expect(error.message).toContain("no C++ compiler was found (tried no-such-c++, nor-this)");
    expect(error.hint).toMatch(/apt install g\+\+|xcode-select/);
  });

  it("is installed once placed, until its library is deleted or of another version", () => {
    const wheel = { libraries: ["libtensorflow_cc.so.2"] };
    const library = join(folder, "cache", "tensorflow-2.18.1-linux-x64");
    const tfjsNode = {
      addon: join(folder, "tfjs-node", "lib", "a.node"),
      libraries: join(folder, "tfjs-node", "deps", "lib"),
    };
    expect(isInstalled(tfjsNode, wheel, library)).toBe(false);
    write(join(library, "lib", "libtensorflow_cc.so.2"));
    write(join(library, "addon", "a.node"), "addon");
    for (const _again of [1, 2]) place(tfjsNode, wheel, library, join(library, "addon", "a.node"));
    expect(readFileSync(tfjsNode.addon, "utf8")).toBe("addon");
    expect(isInstalled(tfjsNode, wheel, library)).toBe(true);
    expect(isInstalled(tfjsNode, wheel, join(folder, "cache", "tensorflow-2.19.0-linux-x64"))).toBe(false);
    rmSync(library, { recursive: true });
    expect(isInstalled(tfjsNode, wheel, library)).toBe(false);
  });

  it("takes tfjs-node's own library as it is", () => {
    const tfjsNode = { addon: join(folder, "a.node"), libraries: join(folder, "lib") };
    write(tfjsNode.addon);
    write(join(folder, "lib", "libtensorflow.so.2.9.1"));
    expect(isInstalled(tfjsNode, undefined, "unused")).toBe(true);
  });
});

describe("clone", () => {
  const lock = (packages) => JSON.stringify({ packages });

  it("misses packages that are absent or of another version, but not those for other systems", () => {
    write(
      join(folder, "package-lock.json"),
      lock({
        "": {},
        "node_modules/a": { version: "1.0.0" },
        "node_modules/b": { version: "2.0.0" },
        "node_modules/c": { version: "1.0.0" },
        "node_modules/elsewhere": { version: "1.0.0", optional: true },
      }),
    );
    expect(missingPackages(folder)).toEqual(["node_modules"]);
    for (const name of ["a", "b"]) mkdirSync(join(folder, "node_modules", name), { recursive: true });
    const present = { "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "1.9.0" } };
    write(
      join(folder, "node_modules", ".package-lock.json"),
      lock({ ...present, "node_modules/c": { version: "1.0.0" } }),
    );
    expect(missingPackages(folder)).toEqual(["node_modules/b", "node_modules/c"]);
  });

  it("builds when a source is newer than any product, or was deleted", () => {
    const at = (seconds, ...names) => {
      for (const name of names) utimesSync(join(folder, name), seconds, seconds);
    };
    const products = ["dist/index.js", "dist/index.cjs", "dist/cli/main.js", "dist/runtime/worker.js"];
    for (const name of [...products, "src/nn/basic.ts", "src/nn/gone.ts"]) write(join(folder, name));
    at(1000, "src/nn/basic.ts", "src/nn/gone.ts", "src/nn", "src");
    at(2000, ...products);
    expect(isBuildStale(folder)).toBe(false);
    rmSync(join(folder, "src/nn/gone.ts"));
    expect(isBuildStale(folder)).toBe(true);
    at(1000, "src/nn");
    at(3000, "src/nn/basic.ts");
    expect(isBuildStale(folder)).toBe(true);
    at(1000, "src/nn/basic.ts");
    expect(isBuildStale(folder)).toBe(false);
    rmSync(join(folder, "dist/cli/main.js"));
    expect(isBuildStale(folder)).toBe(true);
  });
});

describe("machine", () => {
  it("puts the cache where the user wants it", () => {
    expect(cacheFolder({ TFJS_DIFFUSION_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
    expect(cacheFolder({ XDG_CACHE_HOME: "/b" })).toBe(join("/b", "tfjs-diffusion"));
    expect(cacheFolder({}, "linux")).toMatch(/\.cache[\\/]tfjs-diffusion$/);
  });

  it("says what to do about a cache folder that cannot be", () => {
    write(join(folder, "file"));
    expect(() => makeCacheFolder(join(folder, "file", "cache"))).toThrow(
      /^cannot write to .*cache \(ENOTDIR\)$/,
    );
    const nowhere = join("/proc", "tfjs-diffusion", "cache");
    if (process.platform === "linux")
      expect(() => makeCacheFolder(nowhere)).toThrow(/^cannot write to .*cache \(ENOENT\)$/);
    makeCacheFolder(join(folder, "a", "b"));
    makeCacheFolder(join(folder, "a", "b"));
    expect(existsSync(join(folder, "a", "b"))).toBe(true);
  });

  it("asks for disk space before anything is downloaded", () => {
    checkSpace(folder, 1, "this");
    expect(() => checkSpace(folder, 1e18, "this")).toThrow(
      /^this needs 1000000000000 MB on the disk of .* left$/,
    );
  });

  it("stops a program that takes too long, with the programs that it started", async () => {
    const inner = "setInterval(() => {}, 1000)";
    const outer = `require("child_process").spawn(process.execPath, ["-e", ${JSON.stringify(inner)}], { stdio: "inherit" })`;
    // It ends only when the last process that holds its output has ended, the inner one too.
    expect((await run(process.execPath, ["-e", outer], { timeoutMs: 1500 })).status).toBe(null);
  });

  it("finds the line that names the error", () => {
    expect(
      errorLine(
        "throw er; // Unhandled 'error' event\nError: getaddrinfo ENOTFOUND host.test\n  code: 'ENOTFOUND'\nNode.js v20",
      ),
    ).toBe("Error: getaddrinfo ENOTFOUND host.test");
    expect(errorLine("a.cc:1:2: fatal error: node_api.h: No such file\n1 error generated")).toMatch(
      /node_api\.h/,
    );
    expect(errorLine("")).toBe("no output");
  });
});

describe("guard", () => {
  const guard = fileURLToPath(new URL("../guard/guard.mjs", import.meta.url));

  it("makes tfjs-node's install script end at once under npm, and only then", () => {
    const script = join(folder, "node_modules", "@tensorflow", "tfjs-node", "scripts", "install.js");
    write(join(folder, "node_modules", "@tensorflow", "tfjs-node", "package.json"), "{}");
    write(script, 'console.log("downloading");');
    const copy = join(folder, "node_modules", "guard", "guard.mjs");
    write(copy, readFileSync(guard));
    for (const _again of [1, 2]) expect(spawnSync(process.execPath, [copy]).status).toBe(0);
    const output = (npm_lifecycle_event) =>
      spawnSync(process.execPath, [script], { env: { npm_lifecycle_event }, encoding: "utf8" }).stdout;
    expect(output("install")).toBe("");
    expect(output("setup")).toBe("downloading\n");
    expect(readFileSync(script, "utf8").split("\n")).toHaveLength(2);
  });

  it("does not fail where tfjs-node is absent", () => {
    const copy = join(folder, "guard.mjs");
    write(copy, readFileSync(guard));
    const { status, stderr } = spawnSync(process.execPath, [copy], { encoding: "utf8" });
    expect(status).toBe(0);
    expect(stderr).toContain("tfjs-node keeps its own install script");
  });
});

describe("what was unpacked", () => {
  const hashes = { "lib/a.so": hashOf("a"), "lib/b.so": hashOf("b") };
  const unpacked = () => {
    write(join(folder, "lib", "a.so"), "a");
    write(join(folder, "lib", "b.so"), "b");
  };

  it("is hashed once, and again when a file's time or size has changed", async () => {
    unpacked();
    expect(isUnchanged(folder, "lib/a.so")).toBe(false);
    expect(await firstForged(folder, hashes)).toBe(undefined);
    expect(Object.keys(hashes).every((name) => isUnchanged(folder, name))).toBe(true);
    // Touched, but the same: it is found good again.
    utimesSync(join(folder, "lib", "a.so"), 1000, 1000);
    expect(isUnchanged(folder, "lib/a.so")).toBe(false);
    expect(await firstForged(folder, hashes)).toBe(undefined);
    expect(isUnchanged(folder, "lib/a.so")).toBe(true);
    write(join(folder, "lib", "b.so"), "another");
    expect(await firstForged(folder, hashes)).toBe("lib/b.so");
    rmSync(join(folder, "lib", "b.so"));
    expect(await firstForged(folder, hashes)).toBe("lib/b.so");
  });

  it("is hashed again when its owner has changed", async () => {
    unpacked();
    await firstForged(folder, hashes);
    const stamps = JSON.parse(readFileSync(join(folder, "verified.json"), "utf8"));
    stamps["lib/a.so"].owner += 1;
    write(join(folder, "verified.json"), JSON.stringify(stamps));
    expect(isUnchanged(folder, "lib/a.so")).toBe(false);
  });

  it("of a wheel is pinned by hash for every machine", () => {
    const source = readFileSync(fileURLToPath(new URL("./library.mjs", import.meta.url)), "utf8");
    expect(source.match(/sha256: "[0-9a-f]{64}"/g)).toHaveLength(3);
    expect(source.match(/"lib\/\S+":\s+"[0-9a-f]{64}"/g)).toHaveLength(6);
  });
});

describe("tfjs-node that was left out", () => {
  /** A tar as npm makes it: everything in package/, names beyond 100 characters with a prefix. */
  function tarOf(files) {
    const blocks = Object.entries(files).flatMap(([name, text]) => {
      const header = Buffer.alloc(512);
      const cut = name.length > 100 ? name.lastIndexOf("/", name.length - 50) : -1;
      header.write(name.slice(cut + 1), 0);
      if (cut > 0) header.write(name.slice(0, cut), 345);
      header.write(Buffer.byteLength(text).toString(8).padStart(11, "0"), 124);
      header.write("0", 156);
      const content = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512);
      content.write(text);
      return [header, content];
    });
    return Buffer.concat([...blocks, Buffer.alloc(1024)]);
  }

  it("is unpacked file by file, and nothing of it leaves its folder", () => {
    const long = `package/${"deep/".repeat(25)}file.js`;
    const files = { "package/package.json": "{}", "package/dist/index.js": "x".repeat(1000), [long]: "y" };
    const read = Object.fromEntries([...tarEntries(tarOf(files))].map(([name, data]) => [name, `${data}`]));
    expect(read).toEqual(
      Object.fromEntries(Object.entries(files).map(([name, text]) => [name.slice("package/".length), text])),
    );
    expect(() => [...tarEntries(tarOf({ "package/../../x": "z" }))]).toThrow(/the archive has a file/);
  });

  it("must be the one that was published", () => {
    checkIntegrity(
      Buffer.from("abc"), // FIPS 180-2, appendix C.1, in base64
      "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
      "this",
    );
    expect(() => checkIntegrity(Buffer.from("abd"), "sha512-x", "this")).toThrow(/^this has sha512-/);
  });

  it("is noticed", () => {
    write(join(folder, "package.json"), "{}");
    expect(hasTfjsNode(folder)).toBe(false);
    write(join(folder, "node_modules", "@tensorflow", "tfjs-node", "package.json"), "{}");
    expect(hasTfjsNode(folder)).toBe(true);
  });
});

describe("tfjs-node's official library", () => {
  it("does not stand in for the wheel's unless it was asked for", () => {
    const tfjsNode = { addon: join(folder, "a.node"), libraries: join(folder, "lib") };
    write(tfjsNode.addon);
    write(join(folder, "lib", "libtensorflow.so.2.9.1"));
    const wheel = { libraries: ["libtensorflow_cc.so.2"] };
    expect(isInstalled(tfjsNode, wheel, "unused")).toBe(false);
    expect(isOfficialUnasked(tfjsNode)).toBe(true);
    write(join(folder, "lib", "asked-for-by-tfjs-diffusion"));
    expect(isInstalled(tfjsNode, wheel, "unused")).toBe(true);
    expect(isOfficialUnasked(tfjsNode)).toBe(false);
    // The wheel's library in its place takes the word back.
    place(tfjsNode, { libraries: [] }, folder, tfjsNode.addon);
    expect(existsSync(join(folder, "lib", "asked-for-by-tfjs-diffusion"))).toBe(false);
  });
});
