import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Command } from "commander";
import { DiffusionError } from "../errors.js";
import { packageRoot, type Session } from "./session.js";

export function addSetup(program: Command, session: Session): void {
  program
    .command("setup")
    .summary("install what is missing")
    .description(
      "Installs what is missing: TensorFlow's library and its addon. Does nothing when all is there.",
    )
    .option(
      "--official",
      "tfjs-node's own build of TensorFlow 2.9.1: slower, and no hash says what is downloaded",
    )
    .action(async ({ official }: { official?: boolean }) => {
      const script = join(packageRoot, "scripts", "setup.mjs");
      const child = spawn(process.execPath, [script, ...(official ? ["--official"] : [])], {
        stdio: "inherit",
        signal: session.signal,
      });
      const [code] = (await once(child, "exit")) as [number | null];
      if (code !== 0) throw new DiffusionError("NATIVE_MISSING", "the set-up did not succeed");
    });
}
