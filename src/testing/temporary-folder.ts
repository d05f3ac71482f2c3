import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A run of the tests, with every process that it starts, has a temporary folder of its own; nothing of it stays. */
export function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
  // These are made to be looked at afterwards.
  process.env.TFJS_DIFFUSION_SCREENSHOTS ??= join(tmpdir(), "tfjs-diffusion-screenshots");
  process.env.TMPDIR = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
