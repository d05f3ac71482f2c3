/**
 * The process that decodes what strangers send. Decoders block their thread and hold the memory that a picture says it
 * needs; here neither holds up the server, and this process has none of its secrets.
 */
import { refusalOf } from "../refusal.js";
import type { Answer, Question } from "./messages.js";
import { pictureTasks } from "./pictures.js";

const tasks = pictureTasks as Record<string, (given: never) => Promise<{ result: unknown; pixels: number }>>;

async function answer({ id, name, given }: Question): Promise<Answer> {
  try {
    return { id, ...(await tasks[name]!(given as never)) };
  } catch (error) {
    const { status, code, message, hint } = refusalOf(error);
    return { id, error: { status, code, message, ...(hint !== undefined && { hint }) } };
  }
}

process.on("message", async (question: Question) => {
  const told = await answer(question);
  process.send?.(told);
});
// Ctrl-C reaches every process of a terminal; the server's end is ours.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit());
process.send?.({ ready: true });
