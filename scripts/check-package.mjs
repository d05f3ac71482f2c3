/** Packs the package as for publishing, and has publint and attw check the tarball. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-pack-"));
try {
  check("npm", ["pack", "--silent", "--pack-destination", folder]);
  const tarball = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith(".tgz")),
  );
  check("publint", ["run", tarball, "--strict"]);
  check("attw", [tarball]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function check(program, args) {
  const { status, error } = spawnSync(program, args, {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status === 0) return;
  console.error(`${program} failed${error ? `: ${error.message}` : ""}`);
  process.exitCode = 1;
}
