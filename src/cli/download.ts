import type { Command } from "commander";
import { fetchFromHub } from "../hub/hub.js";
import { openProgress } from "./progress.js";
import { type Session, say, sayJson } from "./session.js";

export function addDownload(program: Command, session: Session): void {
  program
    .command("download <model>")
    .summary("fetch a model from the hub")
    .description(
      "Downloads what a model needs, owner/name[@revision][:file], into the cache that all Hugging Face tools " +
        "share. A cut download goes on where it stopped. Gated models: set HF_TOKEN.",
    )
    .option("--revision <name>", "branch, tag or commit")
    .option("--fp16", "the float16 weights, where there are some")
    .action(async (model: string, { revision, fp16 }: { revision?: string; fp16?: boolean }) => {
      const progress = openProgress(session);
      try {
        const snapshot = await fetchFromHub(model, {
          signal: session.signal,
          onProgress: progress.event,
          ...(revision !== undefined && { revision }),
          ...(fp16 && { variant: "fp16" }),
        });
        progress.pause();
        if (session.json) return sayJson({ type: "done", ...snapshot });
        const { commit, folder, file, files } = snapshot;
        say(`${file ?? folder}  ${files.length} files  commit ${commit.slice(0, 12)}`);
      } finally {
        progress.pause();
      }
    });
}
