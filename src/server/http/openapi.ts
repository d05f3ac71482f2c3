import { z } from "zod";
import { generateRequest, upscaleRequest } from "../requests/request.js";
import { chooseBody, prepareBody, tokensBody } from "./api/catalog.js";
import { editsBody, generationsBody, variationsBody } from "./api/openai-bodies.js";
import {
  extraBatchImages,
  extraSingleImage,
  img2img,
  internalProgress,
  optionsBody,
  pngInfoBody,
  txt2img,
} from "./api/sdapi-schema.js";
import { detectBody } from "./api/sdapi-unit-schema.js";

interface Described {
  readonly summary: string;
  readonly body?: z.ZodType;
  readonly multipart?: true;
}

/** Every route, as "METHOD /path". The bodies are the schemas that the handlers check with. */
export const routes: Readonly<Record<string, Described>> = {
  "POST /jobs": {
    summary:
      "Queues a job and answers at once. With the header Idempotency-Key, sending it again gives the same job.",
    body: z.union([generateRequest, upscaleRequest]),
  },
  "GET /jobs": {
    summary:
      "Lists jobs, newest first. Query: status (one or several, with commas between), limit, before (a job's id), search (words of prompt or parameters), model, mode, favourites=true",
  },
  "GET /jobs/:id": { summary: "One job: its status, place in the queue, progress and result" },
  "GET /jobs/:id/events": {
    summary: "Server-sent events named job, one for each change, until the job has ended",
  },
  "GET /jobs/:id/grid.png": { summary: "All pictures of a grid in one PNG" },
  "DELETE /jobs/:id": { summary: "Cancels a job; pictures that are finished stay" },
  "POST /jobs/:id/first": {
    summary: "Lets a waiting job be the next one",
  },
  "POST /jobs/:id/skip": {
    summary:
      "Skips the picture that is being made, and goes on with the next; 409 for a job that does not run",
  },
  "POST /jobs/:id/stop": {
    summary:
      "Ends a running job and keeps the picture that is being made, as it is by then: the job is cancelled, with a result. A picture before its first step is left out. 409 for a job that does not run",
  },
  "DELETE /history/:id": { summary: "Deletes a job that has ended, with its pictures" },
  "GET /images/:file": { summary: "A picture as PNG" },
  "GET /thumbnails/:size/:file": {
    summary:
      "A picture as a small WebP, 128, 256 or 512 pixels on its longer side: /thumbnails/256/<key>.webp",
  },
  "GET /favourites": { summary: "Keys of the pictures that somebody likes" },
  "PUT /favourites/:key": { summary: "Adds a picture to them" },
  "DELETE /favourites/:key": { summary: "Takes it off them; the picture stays" },
  "GET /models": { summary: "The models and their state, the precisions, and the latest preparation" },
  "POST /models/current": { summary: "Chooses the model for requests that name none", body: chooseBody },
  "GET /models/hub": {
    summary: "What the hub says of a model before it is downloaded: licence, tags. Query: name (owner/name)",
  },
  "POST /models/prepare": {
    summary: 'Downloads and converts a model (the page\'s "Optimize model")',
    body: prepareBody,
  },
  "GET /models/prepare/:id": { summary: "Log and progress of a preparation" },
  "DELETE /models/prepare/:id": { summary: "Stops a preparation" },
  "DELETE /models/:label": { summary: "Takes a prepared model off the list" },
  "GET /schedulers": { summary: "Schedulers and schedule types" },
  "GET /upscalers": { summary: "Upscalers" },
  "GET /controls": { summary: "ControlNets and T2I-Adapters, and the preprocessors for their pictures" },
  "GET /ip-adapters": { summary: "IP-Adapters that requests can name" },
  "GET /styles": {
    summary: "The styles of the server's --styles: their names and the words that they add to prompts",
  },
  "GET /loras": { summary: "LoRAs that prompts can name, and where the picture is that lies beside one" },
  "GET /embeddings": { summary: "Learned words that prompts can say" },
  "GET /previews/:kind/:file": {
    summary:
      "That picture as a small WebP: /previews/lora/<name>.webp; the kind is lora, embed, control or ip-adapter",
  },
  "GET /wildcards": { summary: "Names of the lists that prompts may draw from" },
  "GET /limits": { summary: "The limits for requests" },
  "POST /tokens": { summary: "Counts the tokens of a prompt", body: tokensBody },
  "POST /v1/images/generations": { summary: "OpenAI: text to image", body: generationsBody },
  "POST /v1/images/edits": {
    summary: "OpenAI: image to image, inpainting",
    body: editsBody,
    multipart: true,
  },
  "POST /v1/images/variations": { summary: "OpenAI: variations", body: variationsBody, multipart: true },
  "GET /v1/images/links/:file": { summary: "OpenAI: a picture by the address in an answer, for an hour" },
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
  "POST /sdapi/v1/interrupt": { summary: "AUTOMATIC1111: stops the running jobs" },
  "POST /sdapi/v1/skip": { summary: "AUTOMATIC1111: skips the picture that is being made" },
  "GET /sdapi/v1/options": { summary: "AUTOMATIC1111: settings" },
  "POST /sdapi/v1/options": { summary: "AUTOMATIC1111: changes settings", body: optionsBody },
  "POST /sdapi/v1/unload-checkpoint": { summary: "AUTOMATIC1111: frees the model's memory" },
  "POST /sdapi/v1/reload-checkpoint": { summary: "AUTOMATIC1111: loads the model" },
  "POST /sdapi/v1/refresh-checkpoints": {
    summary: "AUTOMATIC1111: accepted, and does nothing: lists are always fresh",
  },
  "POST /sdapi/v1/refresh-vae": {
    summary: "AUTOMATIC1111: accepted, and does nothing: lists are always fresh",
  },
  "POST /sdapi/v1/refresh-loras": {
    summary: "AUTOMATIC1111: accepted, and does nothing: lists are always fresh",
  },
  "POST /sdapi/v1/refresh-embeddings": {
    summary: "AUTOMATIC1111: accepted, and does nothing: lists are always fresh",
  },
  "POST /sdapi/v1/interrogate": {
    summary: "AUTOMATIC1111: refused, as this server has no model that describes pictures",
  },
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
  "GET /controlnet/control_types": {
    summary: "AUTOMATIC1111's ControlNet: which preprocessors go with which models",
  },
  "GET /controlnet/settings": { summary: "AUTOMATIC1111's ControlNet: how many units there are" },
  "POST /controlnet/detect": {
    summary: "AUTOMATIC1111's ControlNet: preprocesses a picture",
    body: detectBody,
  },
  "GET /health": { summary: "200 as long as the process answers; says how far the model is" },
  "GET /ready": {
    summary:
      "200 if a job that is sent now would be run, else 503 with the reason: the model is loading, no worker has it, the queue takes no jobs, the server is shutting down",
  },
  "GET /metrics": { summary: "Metrics in Prometheus' text format" },
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
      responses: { default: { description: "What the summary says, or an error" } },
    };
  }
  return { openapi: "3.1.0", info: { title: "tfjs-diffusion", version }, paths };
}

const schemaOf = (body: z.ZodType): object => z.toJSONSchema(body, { io: "input", unrepresentable: "any" });
