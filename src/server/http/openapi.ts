import { z } from "zod";
import { generateRequest, upscaleRequest } from "../requests/request.js";
import { chooseBody, prepareBody, tokensBody } from "./api/catalog.js";
import { editsBody, generationsBody, variationsBody } from "./api/openai.js";
import { detectBody } from "./api/sdapi-controlnet.js";
import {
  extraBatchImages,
  extraSingleImage,
  img2img,
  internalProgress,
  optionsBody,
  pngInfoBody,
  txt2img,
} from "./api/sdapi-schema.js";

interface Described {
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly multipart?: true;
}

/** Every route, as "METHOD /path". The bodies are the schemas that the handlers check with. */
export const routes: Readonly<Record<string, Described>> = {
  "POST /jobs": {
    summary: "Accepts a job. The header Idempotency-Key makes repeating it harmless.",
    body: z.union([generateRequest, upscaleRequest]),
  },
  "GET /jobs": { summary: "Jobs, newest first: status, limit, before" },
  "GET /jobs/:id": { summary: "One job: status, position, progress, result" },
  "GET /jobs/:id/events": { summary: "Server-sent events named job, until it has ended" },
  "GET /jobs/:id/grid.png": { summary: "All pictures of a grid in one" },
  "DELETE /jobs/:id": { summary: "Cancels a job; finished pictures stay" },
  "POST /jobs/:id/skip": { summary: "Leaves out the picture that is being made" },
  "DELETE /history/:id": { summary: "Forgets a job that has ended, and its pictures" },
  "GET /images/:file": { summary: "A picture as PNG" },
  "GET /models": { summary: "Models with their state, precisions, and the latest preparation" },
  "POST /models/current": { summary: "Chooses the model of requests that name none", body: chooseBody },
  "POST /models/prepare": { summary: "Downloads and converts a model (Optimize model)", body: prepareBody },
  "GET /models/prepare/:id": { summary: "Log and progress of a preparation" },
  "DELETE /models/prepare/:id": { summary: "Stops a preparation" },
  "DELETE /models/:label": { summary: "Takes a prepared model off the list" },
  "GET /schedulers": { summary: "Schedulers and schedule types" },
  "GET /upscalers": { summary: "Upscalers" },
  "GET /controls": { summary: "ControlNets and T2I-Adapters, and what prepares pictures for them" },
  "GET /limits": { summary: "What a request may ask for" },
  "POST /tokens": { summary: "Counts the tokens of a prompt", body: tokensBody },
  "POST /v1/images/generations": { summary: "OpenAI: text to image", body: generationsBody },
  "POST /v1/images/edits": {
    summary: "OpenAI: image to image, inpainting",
    body: editsBody,
    multipart: true,
  },
  "POST /v1/images/variations": { summary: "OpenAI: variations", body: variationsBody, multipart: true },
  "GET /v1/models": { summary: "OpenAI: models" },
  "GET /v1/models/:model": { summary: "OpenAI: one model" },
  "POST /sdapi/v1/txt2img": { summary: "AUTOMATIC1111: text to image", body: txt2img },
  "POST /sdapi/v1/img2img": { summary: "AUTOMATIC1111: image to image, inpainting", body: img2img },
  "POST /sdapi/v1/extra-single-image": { summary: "AUTOMATIC1111: upscaling", body: extraSingleImage },
  "POST /sdapi/v1/extra-batch-images": {
    summary: "AUTOMATIC1111: upscaling of several",
    body: extraBatchImages,
  },
  "POST /sdapi/v1/png-info": { summary: "AUTOMATIC1111: parameters of a PNG", body: pngInfoBody },
  "GET /sdapi/v1/progress": { summary: "AUTOMATIC1111: progress with preview" },
  "POST /internal/progress": { summary: "AUTOMATIC1111: progress of a task", body: internalProgress },
  "POST /sdapi/v1/interrupt": { summary: "AUTOMATIC1111: stops what runs" },
  "POST /sdapi/v1/skip": { summary: "AUTOMATIC1111: leaves out the picture that is being made" },
  "GET /sdapi/v1/options": { summary: "AUTOMATIC1111: settings" },
  "POST /sdapi/v1/options": { summary: "AUTOMATIC1111: changes settings", body: optionsBody },
  "POST /sdapi/v1/unload-checkpoint": { summary: "AUTOMATIC1111: frees the model's memory" },
  "POST /sdapi/v1/reload-checkpoint": { summary: "AUTOMATIC1111: loads the model" },
  "POST /sdapi/v1/refresh-checkpoints": { summary: "AUTOMATIC1111: nothing to do" },
  "POST /sdapi/v1/refresh-vae": { summary: "AUTOMATIC1111: nothing to do" },
  "POST /sdapi/v1/refresh-loras": { summary: "AUTOMATIC1111: nothing to do" },
  "POST /sdapi/v1/refresh-embeddings": { summary: "AUTOMATIC1111: nothing to do" },
  "POST /sdapi/v1/interrogate": { summary: "AUTOMATIC1111: refused, there is no such model" },
  ...Object.fromEntries(
    [
      ...["samplers", "schedulers", "sd-models", "sd-vae", "loras", "upscalers", "latent-upscale-modes"],
      ...["memory", "embeddings", "scripts", "script-info", "cmd-flags", "hypernetworks", "face-restorers"],
      ...["realesrgan-models", "prompt-styles", "extensions"],
    ].map((name) => [`GET /sdapi/v1/${name}`, { summary: `AUTOMATIC1111: ${name}` }]),
  ),
  "GET /controlnet/version": { summary: "AUTOMATIC1111's ControlNet: 2" },
  "GET /controlnet/model_list": { summary: "AUTOMATIC1111's ControlNet: models" },
  "GET /controlnet/module_list": { summary: "AUTOMATIC1111's ControlNet: preprocessors" },
  "GET /controlnet/control_types": { summary: "AUTOMATIC1111's ControlNet: what goes together" },
  "GET /controlnet/settings": { summary: "AUTOMATIC1111's ControlNet: how many units there are" },
  "POST /controlnet/detect": { summary: "AUTOMATIC1111's ControlNet: preprocesses", body: detectBody },
  "GET /health": { summary: "That the server is up, and how far its model is" },
  "GET /ready": { summary: "200 once jobs can be run: the model is loaded, or a worker is there; else 503" },
  "GET /metrics": { summary: "Numbers for Prometheus" },
  "GET /openapi.json": { summary: "This document" },
};

/** The OpenAPI document of everything above. */
export function openapiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [route, { summary, body, multipart }] of Object.entries(routes)) {
    const [method = "", path = ""] = route.split(" ");
    const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
    const template = path.replace(/:(\w+)/g, "{$1}");
    paths[template] ??= {};
    paths[template][method.toLowerCase()] = {
      summary,
      ...(names.length > 0 && {
        parameters: names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } })),
      }),
      ...(body && {
        requestBody: {
          required: true,
          content: { [multipart ? "multipart/form-data" : "application/json"]: { schema: schemaOf(body) } },
        },
      }),
      responses: { default: { description: "As the summary says, or an error" } },
    };
  }
  return { openapi: "3.1.0", info: { title: "tfjs-diffusion", version }, paths };
}

const schemaOf = (body: z.ZodType): object => z.toJSONSchema(body, { io: "input", unrepresentable: "any" });
