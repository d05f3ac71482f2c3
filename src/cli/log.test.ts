import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("--log json: what libraries and Node warn of is one object a line, too", async () => {
  const source = fileURLToPath(new URL("./log.ts", import.meta.url));
  const code = `
    const { serviceLog } = await import(${JSON.stringify(source)});
    serviceLog("json", "server", "name")("ours", { job: "a" });
    console.warn("a library's", 3);
    process.emitWarning("Node's");
    await new Promise((resolve) => setImmediate(resolve));`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];
  const { stderr } = await promisify(execFile)(process.execPath, args);
  const lines = stderr
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  const common = { process: "server", worker: "name", time: expect.any(String) };
  expect(lines).toMatchObject([
    { ...common, level: "info", message: "ours", job: "a" },
    { ...common, level: "warn", message: "a library's 3" },
    { ...common, level: "warn", message: "Warning: Node's" },
  ]);
});
