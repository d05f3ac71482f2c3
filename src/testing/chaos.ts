import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { type Env, startBucket, startCluster } from "./cluster.js";
import { goldenPath } from "./golden.js";
import { childrenOf, type TestProcess } from "./processes.js";
import type { S3State } from "./s3-server.js";

/** What is done to a service while it works. */
export const faults = [
  ...(["kill worker", "kill compute", "drain worker", "freeze worker"] as const),
  ...(["kill server", "drain server", "kill redis"] as const),
  ...(["S3 stopped", "S3 cut off", "S3 busy", "S3 slow"] as const),
] as const;
export type Fault = (typeof faults)[number];

/** Two models, each with weights of its own, of which each has two workers. */
export const chaosModels = ["tiny-sd1", "tiny-ddpm-google"] as const;
/** Who is not heard of for so long loses its job. */
const lockMs = 3000;

/** From 0 to 1. */
export type Random = () => number;

/**
 * Two servers, three workers, a Redis and an S3, all of them real processes but for the S3, with real (tiny) models;
 * all end with the test. Whatever a fault has ended is started again as a supervisor does, while the next one strikes.
 *
 * @param folder of `serviceProcesses`
 */
export async function startChaos(folder: string, random: Random) {
  const { s3, env } = await startBucket();
  const cluster = await startCluster(folder, { lockMs });
  const { redis } = cluster;
  const models = goldenPath("models");
  const serve = ["--images", "s3://pictures", "--models", models, "--grace", "10"];
  const place = { ...env, IMAGES: "s3://pictures", MODELS_FOLDER: models };
  const worker = (...lanes: readonly string[]) =>
    cluster.worker(0, { ...place, MODELS: lanes.join() } as Env);
  const [a, b, ...workers] = await Promise.all([
    ...[cluster.server(env, ...serve), cluster.server(env, ...serve)],
    ...[worker(...chaosModels), worker(chaosModels[0]), worker(chaosModels[1])],
  ] as const);
  const servers = [a.process, b.process];
  const client = new Redis(redis.url);
  client.on("error", () => {}); // as long as it is away
  const supervise = supervisor();
  onTestFinished(() => {
    supervise.stop();
    client.disconnect();
  });
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  let away = false;
  const store = (state: S3State) => {
    s3.state(state);
    away = state !== "up";
  };
  const outage = async (state: S3State) => {
    store(state);
    const told = () => workers.some((one) => one.output().includes(`ECONNREFUSED ${new URL(s3.url).host}`));
    return eventually(state === "stopped" ? told : () => s3.met > 0);
  };
  const end = async (list: readonly TestProcess[], signal: NodeJS.Signals) => {
    await supervise.end(any(list), signal, random() * 300);
    return true;
  };
  const strikes: Readonly<Record<Fault, () => Promise<boolean>>> = {
    "kill worker": () => end(workers, "SIGKILL"),
    "drain worker": () => end(workers, "SIGTERM"),
    "kill server": () => end(servers, "SIGKILL"),
    "drain server": () => end(servers, "SIGTERM"),
    async "kill compute"() {
      const child = any(workers.flatMap(({ pid }) => childrenOf(pid)));
      return child !== undefined && signalled(child, "SIGKILL");
    },
    async "kill redis"() {
      await redis.kill();
      await sleep(random() * 1000);
      await redis.start();
      return true;
    },
    async "freeze worker"() {
      const frozen = await freezeAtWork(workers, client);
      if (!frozen) return false;
      // Whoever takes the job over has the store that it needs.
      store("up");
      await frozen.untilTakenOver();
      return signalled(frozen.pid, "SIGCONT");
    },
    "S3 stopped": () => outage("stopped"),
    "S3 cut off": () => outage("cut off"),
    "S3 busy": () => outage("busy"),
    "S3 slow": () => outage("slow"),
  };
  return {
    urls: [a.url, b.url],
    client,
    /** Until no more than so many jobs and parts wait; at once while no picture can be kept. */
    async worked(most: number): Promise<void> {
      while (!away && (await client.zcard("{tfjs-diffusion}:waiting")) > most) await sleep(50);
    },
    /** False where nothing was at work to be hit. What is done to the store lasts until something else has struck. */
    async strike(fault: Fault): Promise<boolean> {
      const struck = await strikes[fault]();
      if (struck && !fault.startsWith("S3")) store("up");
      return struck;
    },
    /** Everything is there again. */
    async settle(): Promise<void> {
      store("up");
      await supervise.settled();
    },
  };
}

/** Ends processes and starts them again, as often as it takes: one may need what is away itself. */
function supervisor() {
  const restarts = new Map<TestProcess, Promise<void>>();
  let over = false;
  const restart = async (process: TestProcess, signal: NodeJS.Signals, pauseMs: number) => {
    await process.kill(signal);
    for (let up = false; !up && !over; ) {
      await sleep(pauseMs);
      up = await process.start().then(
        () => true,
        () => false,
      );
    }
  };
  return {
    async end(process: TestProcess, signal: NodeJS.Signals, pauseMs: number): Promise<void> {
      await restarts.get(process);
      restarts.set(process, restart(process, signal, pauseMs));
    },
    settled: async () => void (await Promise.all(restarts.values())),
    stop: () => {
      over = true;
    },
  };
}

/**
 * Stops a worker (SIGSTOP) while the records say that it runs a job. What it sent before may change that for a moment:
 * it is looked at twice.
 */
async function freezeAtWork(workers: readonly TestProcess[], client: Redis) {
  for (const { pid } of workers) {
    if (!signalled(pid, "SIGSTOP")) continue;
    const jobOf = () => runningOn(pid, client);
    const first = await jobOf();
    if (first !== undefined) await sleep(100);
    if (first !== undefined && (await jobOf()) === first)
      return {
        pid,
        async untilTakenOver() {
          while ((await jobOf()) !== undefined) await sleep(50);
        },
      };
    signalled(pid, "SIGCONT");
  }
  return undefined;
}

/** False where the process is not there at the moment. */
function signalled(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** The job or part that a worker runs by the records. Names of processes hold their number. */
async function runningOn(pid: number, client: Redis): Promise<string | undefined> {
  for (const id of await client.zrange("{tfjs-diffusion}:running", 0, "-1")) {
    const [status, json] = await client.hmget(`{tfjs-diffusion}:job:${id}`, "status", "job");
    const { worker = "" } = JSON.parse(json ?? "{}") as { worker?: string };
    if (status === "running" && worker.includes(`:${pid}:`)) return id;
  }
  return undefined;
}

/** Whether something comes true while there is work; what is asked again costs little. */
async function eventually(isTrue: () => boolean): Promise<boolean> {
  for (let i = 0; i < 50 && !isTrue(); i++) await sleep(20);
  return isTrue();
}
