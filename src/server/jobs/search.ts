import type { Job, JobFilter, JobQueue } from "../queue/queue.js";
import type { StoredRequest } from "../requests/request.js";

/** How pictures were made. */
export const pictureModes = ["text", "image", "inpaint", "outpaint", "upscale", "unconditional"] as const;
export type PictureMode = (typeof pictureModes)[number];

export interface Search extends Pick<JobFilter, "status" | "limit"> {
  readonly before?: string | undefined;
  /** Words that all stand in the prompt, the negative prompt or a picture's parameters, in any case. */
  readonly text?: string | undefined;
  /** The model's name or label. */
  readonly model?: string | undefined;
  readonly mode?: PictureMode | undefined;
  /** Jobs one of whose pictures is among these. */
  readonly pictures?: ReadonlySet<string> | undefined;
}

/** Jobs that are read from the queue at a time. */
const PAGE = 200;

/** Jobs as `list` gives them, newest first, of those that fit. */
export async function searchJobs(
  queue: Pick<JobQueue, "list" | "jobsWith">,
  { limit = 50, before, status, ...wanted }: Search,
): Promise<readonly Job[]> {
  // Those that have one of the pictures are known: the rest of the history is not read for them.
  const { pictures } = wanted;
  const among = pictures && [...(await queue.jobsWith([...pictures])).values()].flat();
  const page = (from: string | undefined, size: number) =>
    queue.list({
      limit: size,
      ...(status && { status }),
      ...(among && { among }),
      ...(from !== undefined && { before: from }),
    });
  const everything = Object.values(wanted).every((value) => value === undefined);
  if (everything) return page(before, limit);
  const found: Job[] = [];
  for (let from = before; ; ) {
    const jobs = await page(from, PAGE);
    for (const job of jobs) if (fits(job, wanted)) found.push(job);
    if (found.length >= limit || jobs.length < PAGE) return found.slice(0, limit);
    from = jobs.at(-1)!.id;
  }
}

function fits(job: Job, { text, model, mode, pictures }: Search): boolean {
  const { lane, request, result } = job;
  // A lane is the model's label: its name, the device and the precision.
  if (model !== undefined && lane !== model && !lane.startsWith(`${model} `)) return false;
  if (mode !== undefined && modeOf(request) !== mode) return false;
  if (pictures && !result?.images.some(({ key }) => pictures.has(key))) return false;
  if (text === undefined) return true;
  const said = [
    ...(request.kind === "generate" ? [request.prompt, request.negativePrompt] : []),
    ...(result?.images.map(({ parameters }) => parameters) ?? []),
  ]
    .join("\n")
    .toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => said.includes(word));
}

export function modeOf(request: StoredRequest): PictureMode {
  if (request.kind === "upscale") return "upscale";
  if (request.expand) return "outpaint";
  if (request.mask) return "inpaint";
  if (request.image || request.images) return "image";
  return request.prompt === undefined ? "unconditional" : "text";
}
