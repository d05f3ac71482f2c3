import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Whether Debian's redis-server is installed. */
export const hasRedis: boolean = (() => {
  try {
    execFileSync("redis-server", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

export interface RedisServer {
  readonly url: string;
  /** kill -9 */
  kill(): Promise<void>;
  /** Its process stands still: connections stay, answers do not come. */
  pause(): Promise<void>;
  resume(): void;
  start(): Promise<void>;
}

/** A Redis of one's own on a loopback port. What it has confirmed is on disk, also when it is killed. */
export async function startRedis(
  dir = mkdtempSync(join(tmpdir(), "redis-")),
  env: Readonly<Record<string, string>> = {},
  more: readonly string[] = [],
): Promise<RedisServer> {
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async () => {
    const durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
    const where = ["--bind", "127.0.0.1", "--port", String(port), "--dir", dir];
    child = spawn("redis-server", [...where, ...durable, "--maxmemory-policy", "noeviction", ...more], {
      stdio: "ignore",
      env: { ...process.env, ...env },
    });
    const late = Date.now() + 20_000;
    while (!(await answers(port))) {
      if (Date.now() > late) child.kill("SIGKILL");
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error("redis-server does not start");
      await sleep(20);
    }
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    async pause() {
      child!.kill("SIGSTOP");
      while (!readFileSync(`/proc/${child!.pid}/stat`, "utf8").includes(") T ")) await sleep(5);
    },
    resume: () => void child!.kill("SIGCONT"),
    async kill() {
      if (child!.exitCode !== null || child!.signalCode !== null) return;
      const ended = once(child!, "exit");
      child!.kill("SIGKILL");
      await ended;
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => socket.write("PING\r\n"));
    socket.on("data", (data) => {
      socket.destroy();
      resolve(data.toString().startsWith("+PONG"));
    });
    socket.on("error", () => resolve(false));
  });
