import { basename } from "node:path";
import { DiffusionError, type ErrorCode } from "../errors.js";
import { exitCodes } from "./failure.js";
import { note, type Session, sayJson } from "./session.js";

/** What can be wrong with just one picture; anything else would be the same for the next one. */
const ofOnePicture: readonly ErrorCode[] = ["BAD_IMAGE", "BAD_OPTION", "FILE_MISSING", "DISK", "WORKER"];

/** Collects what goes wrong with single pictures of a folder. */
export function openFailures(session: Session, pictures: number) {
  const failures: { source: string; error: DiffusionError }[] = [];
  return {
    /**
     * The result, or nothing when it failed for a reason that others need not share.
     *
     * @param source the picture that it was made from
     */
    async kept<T>(making: Promise<T>, source: string, image: number): Promise<T | undefined> {
      try {
        return await making;
      } catch (error) {
        const isItsOwn = error instanceof DiffusionError && ofOnePicture.includes(error.code);
        if (session.signal.aborted || !isItsOwn) throw error;
        failures.push({ source, error });
        const { code, message, hint } = error;
        if (session.json) sayJson({ type: "failed", image, source, code, message, ...(hint && { hint }) });
        return undefined;
      }
    },
    /**
     * Says what failed, sets the exit code, and returns how many pictures failed. What went wrong in the same way with
     * all of them is thrown, as if there were one.
     */
    report(): number {
      const [first] = failures;
      if (!first) return 0;
      const messages = new Set(failures.map(({ error }) => error.message));
      if (failures.length === pictures && messages.size === 1) throw first.error;
      process.exitCode = exitCodes.failed;
      if (session.json) return failures.length;
      note(`error: ${failures.length} of ${pictures} pictures failed`);
      for (const { source, error } of failures) note(`  ${basename(source)}: ${error.message}`);
      for (const hint of new Set(failures.map(({ error }) => error.hint))) if (hint) note(`hint: ${hint}`);
      return failures.length;
    },
  };
}
