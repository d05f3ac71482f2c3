import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Hono } from "hono";
import { expect, test } from "vitest";
import { openLocalQueue } from "../queue/local/local.js";
import { createMetrics } from "./metrics.js";

const folder = fileURLToPath(new URL("../../../docs/monitoring/", import.meta.url));
const hasPromtool = ((): boolean => {
  try {
    execFileSync("promtool", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();
if (!hasPromtool) console.warn("skipped: promtool is not installed (apt-get install prometheus)");

const lane = 'a "named" model\\ CPU FP32';

/** What a server on a queue tells when everything has happened once. */
async function metrics(): Promise<string> {
  const path = join(await mkdtemp(join(tmpdir(), "metrics-")), "journal.jsonl");
  const queue = await openLocalQueue(path, { queued: 9 });
  const { text, count } = createMetrics({ ...queue, workers: async () => [{ name: "w", lanes: [lane] }] });
  const request = {
    kind: "upscale",
    image: "0".repeat(64),
    width: 8,
    height: 8,
    upscaler: "Lanczos",
  } as const;
  const job = (id: string) => ({ id, lane, request, attended: false, via: "native" as const });
  await queue.enqueue(job("a"));
  await queue.enqueue(job("b"));
  const claim = await queue.claim(() => true, new AbortController().signal);
  const result = { images: [], width: 8, height: 8, ms: { encode: 0, denoise: 0, decode: 0, upscale: 2000 } };
  await claim.finish({ status: "completed", result });
  const app = new Hono().use(count).get("/jobs", (c) => c.text(""));
  await app.request("/jobs");
  return text();
}

test("each lane has its numbers, and a picture that is enlarged counts as that", async () => {
  const text = await metrics();
  const of = (name: string, more = "") =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${name}{lane="a \\"named\\" model\\\\ CPU FP32"${more}} `))
        ?.split(" ")
        .at(-1),
    );
  expect(of("tfjs_diffusion_lane_waiting")).toBe(1);
  expect(of("tfjs_diffusion_lane_running")).toBe(0);
  expect(of("tfjs_diffusion_lane_oldest_waiting_seconds")).toBeGreaterThanOrEqual(0);
  expect(of("tfjs_diffusion_lane_workers")).toBe(1);
  expect(of("tfjs_diffusion_lane_attempts_total")).toBe(1);
  expect(of("tfjs_diffusion_lane_lost_total")).toBe(0);
  expect(of("tfjs_diffusion_stage_seconds_total", ',stage="upscale"')).toBe(2);
  expect(of("tfjs_diffusion_stage_seconds_total", ',stage="denoise"')).toBe(0);
});

test("the dashboard and the alerts in docs/monitoring ask for nothing that /metrics does not have", async () => {
  const text = await metrics();
  const labels = new Map<string, Set<string>>();
  for (const line of text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    const [, name = "", all = ""] = /^(\w+)(?:\{(.*)\})? [\d.e+-]+$/.exec(line) ?? [];
    const known = labels.get(name) ?? new Set(["job", "instance"]); // Prometheus' own
    for (const [, one] of all.matchAll(/(\w+)="/g)) known.add(one!);
    labels.set(name, known);
  }
  const targets = targetsOfDashboard();
  const rules = readFileSync(join(folder, "alerts.yml"), "utf8");
  const alerts = [...rules.matchAll(/expr: (.*)$/gm)].map(([, expr]) => expr!);
  expect(targets.length).toBeGreaterThan(12);
  expect(alerts.length).toBeGreaterThan(5);
  for (const expr of [...alerts, ...targets.map((target) => target.expr)]) {
    const used = [...expr.matchAll(/\b((?:tfjs_diffusion|process)_\w+)(?:\{([^}]*)\})?/g)];
    if (!expr.startsWith("up{")) expect([expr, used.length]).not.toEqual([expr, 0]);
    for (const [, name = "", matchers = ""] of used) {
      expect([expr, labels.has(name) && name]).toEqual([expr, name]);
      const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, by]) => by!.split(/, */));
      const matched = [...matchers.matchAll(/(\w+)[=!]/g)].map(([, one]) => one!);
      for (const one of [...grouped, ...matched])
        expect([expr, name, labels.get(name)!.has(one) && one]).toEqual([expr, name, one]);
    }
  }
});

test.skipIf(!hasPromtool)(
  "promtool accepts the rules, the dashboard's expressions, and /metrics itself",
  async () => {
    const check = (args: readonly string[], input = "") =>
      execFileSync("promtool", ["check", ...args], { input, stdio: "pipe" }).toString();
    expect(check(["rules", join(folder, "alerts.yml")])).toContain("8 rules found");
    const rules = targetsOfDashboard().map(({ expr }, i) => ({ record: `panel:${i}`, expr }));
    // JSON is YAML.
    const file = join(await mkdtemp(join(tmpdir(), "rules-")), "rules.yml");
    await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    expect(check(["rules", file])).toContain(`${rules.length} rules found`);
    check(["metrics"], await metrics());
  },
);

function targetsOfDashboard(): readonly { readonly expr: string }[] {
  const dashboard = JSON.parse(readFileSync(join(folder, "dashboard.json"), "utf8")) as {
    panels: { targets: { expr: string }[] }[];
  };
  return dashboard.panels.flatMap((panel) => panel.targets);
}
