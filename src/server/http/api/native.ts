import { createHash, randomUUID } from "node:crypto";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { z } from "zod";
import { type Accepted, acceptGenerate, admitted, type Parts } from "../../jobs/accept.js";
import { acceptUpscale } from "../../jobs/accept-upscale.js";
import { removeUnneeded } from "../../jobs/images-of-jobs.js";
import { pictureModes, searchJobs } from "../../jobs/search.js";
import { imageKeys } from "../../queue/pictures.js";
import { hasEnded, type Job, type JobQueue, jobStatuses } from "../../queue/queue.js";
import { Refusal } from "../../refusal.js";
import { assembleGrid, gridCells } from "../../requests/grid.js";
import { checked, generateRequest, upscaleRequest } from "../../requests/request.js";
import { isImageKey } from "../../storage/store.js";
import { type JobView, jobView } from "../answers.js";
import { type Polled, polled, sendPolled } from "../polled.js";
import { clientOf } from "../security.js";

/** The native API: jobs that outlive the request that made them. */
export function nativeApi(parts: Parts): Hono {
  const { jobs, images } = parts;
  const app = new Hono();

  app.post("/jobs", async (c) => {
    const body: unknown = await c.req.json().catch(badJson);
    const key = c.req.header("idempotency-key");
    const id = key === undefined ? randomUUID() : idOf(key);
    const task = key === undefined ? undefined : fingerprint(body);
    const known = task === undefined ? undefined : await jobs.queue.get(id);
    const job =
      known ??
      (await jobs
        .submit({
          ...(await admitted(parts, { client: clientOf(c), id }, () => accept(body, parts))),
          attended: false,
          via: "native",
          ...(task !== undefined && { task, keyed: true }),
        })
        .catch((error: unknown) => {
          throw task === undefined ? unheard(error, id) : error;
        }));
    // Of several at the same moment one has made the job: the others see now whether it is theirs.
    if (task !== undefined && job.task !== task)
      throw new Refusal(422, "IDEMPOTENCY", "this Idempotency-Key was used for another request");
    return c.json(await viewOf(job, jobs.queue), known ? 200 : 202, { Location: `/jobs/${job.id}` });
  });

  app.get("/jobs", async (c) => {
    const { status, search, favourites, ...wanted } = checked(listQuery, c.req.query());
    const found = await searchJobs(jobs.queue, {
      ...wanted,
      ...(status && { status: status.split(",") as Job["status"][] }),
      ...(search?.trim() && { text: search.trim() }),
      ...(favourites && { pictures: new Set(parts.settings.data.favourites) }),
    });
    return c.json({ jobs: await Promise.all(found.map((job) => viewOf(job, jobs.queue))) });
  });

  app.get("/jobs/:id", async (c) => {
    const { recent = jobs.queue } = jobs.queue;
    return sendPolled(c, await jobAnswer(await find(c.req.param("id"), recent), recent));
  });

  app.delete("/jobs/:id", async (c) => {
    await find(c.req.param("id"), jobs.queue);
    const job = await jobs.queue.cancel(c.req.param("id"));
    return c.json(await viewOf(job!, jobs.queue));
  });

  app.post("/jobs/:id/first", async (c) => {
    const { id } = await find(c.req.param("id"), jobs.queue);
    if (!(await jobs.queue.first(id))) throw new Refusal(409, "RUNNING", "the job does not wait any more");
    return c.body(null, 204);
  });

  app.post("/jobs/:id/skip", async (c) => {
    jobs.skip(await findRunning(c.req.param("id"), jobs.queue));
    return c.body(null, 204);
  });

  app.post("/jobs/:id/stop", async (c) => {
    await jobs.interruptOne(await findRunning(c.req.param("id"), jobs.queue));
    return c.body(null, 204);
  });

  app.delete("/history/:id", async (c) => {
    const job = await find(c.req.param("id"), jobs.queue);
    if (!(await jobs.queue.remove(job.id)))
      throw new Refusal(409, "RUNNING", "the job has not ended yet; cancel it first");
    // Pictures go with the last job that shows them.
    await removeUnneeded(imageKeys(job), { images, queue: jobs.queue });
    return c.body(null, 204);
  });

  app.get("/jobs/:id/events", async (c) => {
    const job = await find(c.req.param("id"), jobs.queue);
    // A browser that comes back says what it had last, and stops coming back at a 204.
    const known = c.req.header("last-event-id") ?? "";
    if (hasEnded(job) && eventId((await jobAnswer(job, jobs.queue)).tag) === known) return c.body(null, 204);
    return streamSSE(c, async (stream) => {
      let wake = () => {};
      let latest = job;
      let sent = known;
      const unsubscribe = jobs.queue.subscribe((event) => {
        if (event.job.id === job.id) latest = event.job;
        // Others that end move this one up in the queue.
        if (event.job.id === job.id || event.type === "status") wake();
      });
      stream.onAbort(() => wake());
      try {
        while (!stream.aborted) {
          const woken = new Promise<void>((resolve) => {
            wake = resolve;
          });
          // Events may bring a later state while this one is being written: what ends the stream has been sent.
          const told = (await jobs.queue.get(job.id)) ?? lostJob(latest);
          const { text, tag } = await jobAnswer(told, jobs.queue);
          const id = eventId(tag);
          if (id !== sent) await stream.write(`event: job\nid: ${id}\ndata: ${text}\n\n`);
          sent = id;
          if (hasEnded(told)) return;
          // A comment line now and then keeps proxies from hanging up.
          const silence = setTimeout(() => void stream.write(":\n\n").then(wake), 15_000);
          await woken;
          clearTimeout(silence);
        }
      } finally {
        unsubscribe();
      }
    });
  });

  app.get("/jobs/:id/grid.png", async (c) => {
    const { request, result } = await find(c.req.param("id"), jobs.queue);
    const cells = request.kind === "generate" ? gridCells(request).length : 0;
    if (request.kind !== "generate" || cells === 0)
      throw new Refusal(404, "NOT_FOUND", "this job is no grid");
    const made = result?.images ?? [];
    if (made.length !== cells)
      throw new Refusal(409, "UNFINISHED", `${made.length} of ${cells} pictures are there`);
    const pngs = await Promise.all(made.map(({ key }) => images.get(key)));
    if (pngs.some((png) => !png))
      throw new Refusal(410, "IMAGE_GONE", "a picture of this grid is no longer there");
    const most = 16 * parts.limits.resultPixels;
    const whole = await assembleGrid(pngs as Uint8Array[], request, most);
    return c.body(Uint8Array.from(whole).buffer, 200, { "Content-Type": "image/png" });
  });

  app.get("/images/:file", async (c) => {
    const [, key = ""] = /^(.*)\.png$/.exec(c.req.param("file")) ?? [];
    const png = isImageKey(key) ? await images.get(key) : undefined;
    if (!png) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    return c.body(Uint8Array.from(png).buffer, 200, {
      "Content-Type": "image/png",
      "Cache-Control": "private, max-age=31536000, immutable",
    });
  });

  return app;
}

/** A job that the queue no longer has: it ended and was deleted, or Redis came back without it. */
const lostJob = (job: Job): Job =>
  hasEnded(job)
    ? job
    : {
        ...job,
        status: "lost",
        finished: Date.now(),
        error: {
          code: "LOST",
          message: "the queue no longer has this job: it lost its data, or the job was deleted",
        },
      };

const eventId = (tag: string): string => tag.replaceAll('"', "");

const listQuery = z.object({
  status: z
    .string()
    .regex(new RegExp(`^(${jobStatuses.join("|")})(,(${jobStatuses.join("|")}))*$`))
    .optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
  before: z.string().optional(),
  search: z.string().max(500).optional(),
  model: z.string().max(200).optional(),
  mode: z.enum(pictureModes).optional(),
  favourites: z.literal("true").optional(),
});

export const badJson = (): never => {
  throw new Refusal(400, "BAD_JSON", "the body is no JSON");
};

function accept(body: unknown, parts: Parts): Promise<Accepted> {
  const isUpscale = typeof body === "object" && body !== null && "kind" in body && body.kind === "upscale";
  return isUpscale
    ? acceptUpscale(checked(upscaleRequest, body), parts)
    : acceptGenerate(checked(generateRequest, body), parts);
}

/** The id that an idempotency key stands for. */
function idOf(key: string): string {
  if (key === "" || key.length > 200)
    throw new Refusal(400, "BAD_OPTION", "Idempotency-Key has 1 to 200 characters");
  return createHash("sha256").update(key).digest("hex").slice(0, 32);
}

/** Of a request's content: the order in which its fields are written is none of it. */
const fingerprint = (body: unknown): string =>
  createHash("sha256").update(JSON.stringify(body, inOrder)).digest("hex");

const inOrder = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/**
 * Without a key nobody can ask what became of a job whose acceptance was not heard of in time. The queue takes it back
 * when it answers again; should this server end before that, the client finds it here.
 */
function unheard(error: unknown, id: string): unknown {
  if (!(error instanceof Refusal) || error.code !== "QUEUE") return error;
  const { status, code, message, headers } = error;
  return new Refusal(status, code, message, {
    hint: `try again later; if the job was accepted all the same, it stands at /jobs/${id}`,
    headers: { ...headers, Location: `/jobs/${id}` },
  });
}

async function find(id: string, queue: Pick<JobQueue, "get">): Promise<Job> {
  const job = await queue.get(id);
  if (job) return job;
  throw new Refusal(404, "NOT_FOUND", "there is no such job");
}

/** The id of a job of which something is being made: of others there is nothing to skip or to keep. */
async function findRunning(id: string, queue: Pick<JobQueue, "get">): Promise<string> {
  const job = await find(id, queue);
  if (job.status === "running") return job.id;
  throw hasEnded(job)
    ? new Refusal(409, "ENDED", `the job has ended: it is ${job.status}`)
    : new Refusal(409, "WAITING", "the job still waits: nothing of it is there yet", {
        hint: `DELETE /jobs/${id} cancels it`,
      });
}

const viewOf = async (job: Job, queue: Places): Promise<JobView> =>
  jobView(job, job.status === "queued" ? await queue.position(job.id) : undefined);

/** The same as text, for those who ask again and again. */
const jobAnswer = async (job: Job, queue: Places): Promise<Polled> => polled(await viewOf(job, queue));

type Places = Pick<JobQueue, "position">;
