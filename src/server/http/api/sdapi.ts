import { Hono } from "hono";
import type { Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import { sendPolled } from "../polled.js";
import { pngInfo } from "./png-info.js";
import { addControlNet } from "./sdapi-controlnet.js";
import { filled } from "./sdapi-defaults.js";
import { read, sdapiError, sentFields } from "./sdapi-errors.js";
import { extra, extraBatch } from "./sdapi-extra.js";
import { generate } from "./sdapi-generate.js";
import { addLists } from "./sdapi-lists.js";
import { options, setOptions } from "./sdapi-options.js";
import { processTime, progressAnswer, taskProgress } from "./sdapi-progress.js";
import { img2imgRequest, txt2imgRequest } from "./sdapi-request.js";
import {
  extraBatchImages,
  extraSingleImage,
  img2img,
  internalProgress,
  interrogateBody,
  optionsBody,
  pngInfoBody,
  txt2img,
} from "./sdapi-schema.js";
import { styledRequest } from "./sdapi-styles.js";

/** AUTOMATIC1111's API, for clients that speak it already. */
export function sdapi(parts: Parts): Hono {
  const app = new Hono();
  app.onError((error, c) => sdapiError(error, c));
  app.use("/sdapi/*", async (c, next) => {
    const began = performance.now();
    await next();
    c.res.headers.set(...processTime(began));
  });
  app.get("/sdapi/v1/progress", async (c) => {
    const { queue } = parts.jobs;
    const bare = c.req.query("skip_current_image") === "true";
    return sendPolled(c, await progressAnswer(queue.recent ?? queue, parts.jobs.interruptions, bare));
  });

  app.post("/sdapi/v1/txt2img", async (c) => {
    const request = filled(await read(c, txt2img), parts.models);
    const styled = await styledRequest(request.body, parts);
    const { body } = styled;
    const came = await sentFields(c, txt2img);
    return c.json(
      await generate(c, parts, { asked: request.body, ...came, ...styled }, (pictures) =>
        txt2imgRequest({ ...request, body }, parts, pictures),
      ),
    );
  });
  app.post("/sdapi/v1/img2img", async (c) => {
    const request = filled(await read(c, img2img), parts.models);
    const styled = await styledRequest(request.body, parts);
    const { body } = styled;
    const came = await sentFields(c, img2img);
    return c.json(
      await generate(c, parts, { asked: request.body, ...came, ...styled }, (pictures) =>
        img2imgRequest({ ...request, body }, parts, pictures),
      ),
    );
  });
  app.post("/sdapi/v1/extra-single-image", async (c) =>
    c.json(await extra(c, parts, await read(c, extraSingleImage))),
  );
  app.post("/sdapi/v1/extra-batch-images", async (c) =>
    c.json(await extraBatch(c, parts, await read(c, extraBatchImages))),
  );
  app.post("/sdapi/v1/png-info", async (c) => {
    const { image } = await read(c, pngInfoBody);
    return c.json(await pngInfo(image, parts.foreign));
  });

  app.post("/internal/progress", async (c) =>
    c.json(await taskProgress(parts, await read(c, internalProgress))),
  );
  app.post("/sdapi/v1/interrupt", async (c) => {
    await parts.jobs.interrupt();
    return c.json({});
  });
  app.post("/sdapi/v1/skip", (c) => {
    parts.jobs.skip(undefined, { keep: true });
    return c.json(null);
  });

  app.get("/sdapi/v1/options", (c) => c.json(options(parts)));
  app.post("/sdapi/v1/options", async (c) => {
    await setOptions(parts, await read(c, optionsBody));
    return c.json(null);
  });
  app.post("/sdapi/v1/unload-checkpoint", async (c) => {
    await parts.models.unload(parts.models.current.label);
    return c.json({});
  });
  app.post("/sdapi/v1/reload-checkpoint", async (c) => {
    await parts.models.warm(parts.models.current.label);
    return c.json({});
  });
  for (const path of ["refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings"])
    app.post(`/sdapi/v1/${path}`, (c) => c.json(null));
  app.post("/sdapi/v1/interrogate", async (c) => {
    const { image } = await read(c, interrogateBody);
    if (!image) throw new Refusal(404, "NO_IMAGE", "Image not found");
    throw new Refusal(501, "UNSUPPORTED", "interrogate: this server has no model that describes pictures", {
      hint: "POST /sdapi/v1/png-info reads the prompt of a picture that was made here; other pictures have to be described by hand, or by a web UI that has CLIP or DeepDanbooru",
    });
  });
  addLists(app, parts);
  addControlNet(app, parts);
  return app;
}
