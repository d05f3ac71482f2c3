import { expect, test } from "vitest";
import { plainWork, testServer, untilAborted } from "../../fixture.js";
import type { JobView } from "../answers.js";

const body = { prompt: "a dog", width: 64, height: 64 };
const read = async (answer: Response) => (await answer.json()) as JobView;

/** A server whose work makes a picture and then goes on until it is told to end. */
async function busyServer() {
  let drawn = () => {};
  const busy = new Promise<void>((resolve) => {
    drawn = resolve;
  });
  const server = await testServer({
    work: async (job, hooks) => {
      const { skip } = hooks.skippable();
      await plainWork(server.parts.images)(job, hooks);
      drawn();
      return untilAborted(AbortSignal.any([hooks.finish, hooks.signal, skip]));
    },
  });
  const { send, parts } = server;
  const submit = async () => (await read(await send("POST", "/jobs", body))).id;
  const running = await submit();
  await busy;
  const ended = async (id: string) => {
    await parts.jobs.ended(id);
    return read(await send("GET", `/jobs/${id}`));
  };
  return { send, submit, running, ended, parts };
}

test("a job is stopped, and what there is stays with it; others go on", async () => {
  const { send, submit, running, ended, parts } = await busyServer();
  const next = await submit();
  expect((await send("POST", `/jobs/${running}/stop`)).status).toBe(204);
  const job = await ended(running);
  expect([job.status, job.result?.images.length]).toEqual(["cancelled", 1]);
  const picture = await send("GET", job.result!.images[0]!.url);
  expect(picture.headers.get("content-type")).toBe("image/png");
  await expect.poll(async () => (await parts.jobs.queue.get(next))?.status).toBe("running");
  await send("DELETE", `/jobs/${next}`);
});

test.each(["skip", "stop"])("%s of a job that waits, has ended or is unknown says why not", async (what) => {
  const { send, submit, running, ended } = await busyServer();
  const waiting = await submit();
  const told = async (id: string) => {
    const answer = await send("POST", `/jobs/${id}/${what}`);
    const { error } = (await answer.json()) as { error: { message: string; hint?: string } };
    return [answer.status, error.message, error.hint];
  };
  expect(await told(waiting)).toEqual([
    409,
    "the job still waits: nothing of it is there yet",
    `DELETE /jobs/${waiting} cancels it`,
  ]);
  await send("DELETE", `/jobs/${waiting}`);
  await send("DELETE", `/jobs/${running}`);
  await ended(running);
  expect(await told(running)).toEqual([409, "the job has ended: it is cancelled", undefined]);
  expect((await told("nobody"))[0]).toBe(404);
});

test("a job of a queue whose workers are elsewhere is stopped there", async () => {
  const { send, running, parts } = await busyServer();
  const asked: string[] = [];
  const { queue } = parts.jobs;
  const interrupt = async (id: string) => void asked.push(id);
  const get = async (id: string) => ({ ...(await queue.get(running))!, id });
  Object.assign(parts.jobs, { queue: { ...queue, interrupt, get } });
  expect((await send("POST", "/jobs/elsewhere/stop")).status).toBe(204);
  expect(asked).toEqual(["elsewhere"]);
  Object.assign(parts.jobs, { queue });
  await send("DELETE", `/jobs/${running}`);
});
