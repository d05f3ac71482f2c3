import { Hono } from "hono";
import { z } from "zod";
import {
  countTokens,
  cpuFlags,
  describeHubModel,
  loadTokenizer,
  precisions,
  schedulerEntries,
  scheduleTypes,
} from "../../../index.js";
import type { Parts } from "../../jobs/accept.js";
import { upscalerNames } from "../../jobs/accept-upscale.js";
import type { ModelOption } from "../../jobs/model-option.js";
import type { Preparations } from "../../jobs/prepare.js";
import { Refusal, withoutFolders } from "../../refusal.js";
import { checked } from "../../requests/request.js";
import type { Answers, ModelList, ModelView, PrecisionView } from "../answers.js";
import { badJson } from "./native.js";

export const prepareBody = z.strictObject({
  model: z
    .string()
    .min(1)
    .max(1000)
    .describe(
      "a name on the list, or owner/name on the hub; a path only where the server was started with --allow-paths",
    ),
  precision: z.enum(precisions),
  token: z
    .string()
    .max(500)
    .optional()
    .describe("access token for the hub; kept in memory only, until the work is done"),
});
const hubQuery = z.object({ name: z.string().min(1).max(300) });
export const chooseBody = z.strictObject({ model: z.string().max(200) });
export const tokensBody = z.strictObject({
  model: z.string().max(200).optional(),
  text: z.string().max(100_000),
});

/** What there is to choose from: models, schedulers, upscalers; and the work that adds models. */
export function catalogApi({ models, limits, styles, wildcards }: Parts, preparations: Preparations): Hono {
  const app = new Hono();
  const tokenizers = new Map<string, ReturnType<typeof loadTokenizer>>();

  const view = ({ label, name, precision, origin, info }: ModelOption): ModelView => ({
    label,
    name,
    precision,
    origin,
    kind: info.kind,
    isRefiner: info.traits.isRefiner ?? false,
    ignoresWebuiClipSkip: info.traits.ignoresWebuiClipSkip ?? false,
    size: info.size,
    factor: info.factor,
    scheduler: info.scheduler,
    usual: info.usual,
    state: models.state(label),
    current: label === models.current.label,
  });

  app.get("/models", (c) => {
    const { latest } = preparations;
    const list: ModelList = {
      models: models.list().map(view),
      unusable: [...models.unusable].map(([name, problem]) => ({ name, problem: withoutFolders(problem) })),
      precisions: offered(),
      ...(latest && { preparation: latest }),
    };
    return c.json(list);
  });

  app.post("/models/current", async (c) => {
    const { model } = checked(chooseBody, await c.req.json().catch(badJson));
    return c.json(view(await models.choose(model)));
  });

  app.get("/models/hub", async (c) => {
    const { name } = checked(hubQuery, c.req.query());
    return c.json(
      (await describeHubModel(name, { signal: c.req.raw.signal })) satisfies Answers["GET /models/hub"],
    );
  });

  app.post("/models/prepare", async (c) => {
    const { token, ...body } = checked(prepareBody, await c.req.json().catch(badJson));
    const started = preparations.start({ ...body, ...(token && { token }) });
    return c.json(started, 202, { Location: `/models/prepare/${started.id}` });
  });
  app.get("/models/prepare/:id", (c) => c.json(preparations.get(c.req.param("id"))));
  app.delete("/models/prepare/:id", (c) => c.json(preparations.cancel(c.req.param("id"))));

  app.delete("/models/:label", async (c) => {
    await models.forget(c.req.param("label"));
    return c.body(null, 204);
  });

  app.get("/schedulers", (c) =>
    c.json({ schedulers: schedulerEntries, scheduleTypes } satisfies Answers["GET /schedulers"]),
  );
  app.get("/upscalers", async (c) =>
    c.json({
      upscalers: await upscalerNames(models),
      networks: (await models.upscalers.list()).map(({ name }) => name),
    } satisfies Answers["GET /upscalers"]),
  );
  app.get("/styles", async (c) => c.json({ styles: await styles.list() } satisfies Answers["GET /styles"]));
  app.get("/wildcards", async (c) =>
    c.json({ wildcards: Object.keys(await wildcards()) } satisfies Answers["GET /wildcards"]),
  );
  app.get("/limits", (c) => c.json(limits));

  app.post("/tokens", async (c) => {
    const { model, text } = checked(tokensBody, await c.req.json().catch(badJson));
    const { info, name } = models.resolve(model);
    if (!info.tokenizer) throw new Refusal(400, "MODEL_KIND", `${name} has no text encoder`);
    const loading = tokenizers.get(info.tokenizer) ?? loadTokenizer(info.tokenizer);
    tokenizers.set(info.tokenizer, loading);
    const known = (await models.files.learnedWords()).map(({ name, vectors }) => ({ word: name, vectors }));
    return c.json(countTokens(text, (await loading).withWords(known), { syntax: "a1111" }));
  });

  return app;
}

/** What "Optimize model" offers; the library has the last word on bfloat16. */
function offered(): PrecisionView[] {
  const hasBfloat16 = ["avx512_bf16", "amx_bf16"].some((flag) => cpuFlags().has(flag));
  return precisions.map((id) => ({
    id,
    label: `CPU ${id.toUpperCase()}`,
    available: id !== "bf16" || hasBfloat16,
  }));
}
