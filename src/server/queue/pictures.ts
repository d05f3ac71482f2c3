import { pictureKeys } from "../requests/request.js";
import type { Job } from "./queue.js";

export const shownKeys = ({ result }: Pick<Job, "result">): string[] =>
  result?.images.map(({ key }) => key) ?? [];

/** What a job shows and starts from, each once. */
export const imageKeys = (job: Pick<Job, "request" | "result">): string[] => [
  ...new Set([...pictureKeys(job.request), ...shownKeys(job)]),
];
