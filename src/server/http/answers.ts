import type { countTokens, HubModelCard, ModelInfo, SchedulerEntry, scheduleTypes } from "../../index.js";
import type { Style } from "../../options/styles.js";
import type { ModelOption, ModelState, Precision } from "../jobs/model-option.js";
import type { Preparation } from "../jobs/prepare.js";
import type { Job, JobImage, JobProgress, JobResult } from "../queue/queue.js";
import type { Limits } from "../requests/limits.js";
import type { StoredGenerate, StoredRequest, StoredUpscale } from "../requests/request.js";
import type { PngInfo } from "./api/png-info.js";

/** What the native API answers, route by route: its handlers and the page are both typed by this. */
export interface Answers {
  "POST /jobs": JobView;
  "GET /jobs": { readonly jobs: readonly JobView[] };
  "GET /jobs/:id": JobView;
  "DELETE /jobs/:id": JobView;
  "POST /jobs/:id/first": undefined;
  "POST /jobs/:id/skip": undefined;
  "POST /jobs/:id/stop": undefined;
  "DELETE /history/:id": undefined;
  "GET /favourites": { readonly keys: readonly string[] };
  "PUT /favourites/:key": undefined;
  "DELETE /favourites/:key": undefined;
  "GET /models": ModelList;
  "POST /models/current": ModelView;
  "POST /models/prepare": Preparation;
  "GET /models/hub": HubModelCard;
  "GET /models/prepare/:id": Preparation;
  "DELETE /models/prepare/:id": Preparation;
  "DELETE /models/:label": undefined;
  "GET /schedulers": {
    readonly schedulers: readonly SchedulerEntry[];
    readonly scheduleTypes: typeof scheduleTypes;
  };
  "GET /upscalers": {
    readonly upscalers: readonly string[];
    /** Those that a second pass can enlarge by, beside the ways of resampling. */
    readonly networks: readonly string[];
  };
  "GET /controls": { readonly controls: readonly Named[]; readonly preprocessors: readonly string[] };
  "GET /ip-adapters": { readonly ipAdapters: readonly Named[] };
  "GET /styles": { readonly styles: readonly Style[] };
  "GET /loras": { readonly loras: readonly Named[] };
  "GET /embeddings": { readonly embeddings: readonly Named[] };
  "GET /wildcards": { readonly wildcards: readonly string[] };
  "GET /limits": Limits;
  "POST /tokens": ReturnType<typeof countTokens>;
  "POST /sdapi/v1/png-info": PngInfo;
}

/** What requests name beside the model. */
export interface Named {
  readonly name: string;
  /** Address of the picture that lies beside its file under the same name. */
  readonly preview?: string;
}

/** A picture as clients see it: an address on this server. */
export interface PictureView {
  readonly url: string;
}
export type ImageView = JobImage & PictureView;

type Control = NonNullable<StoredGenerate["controlnet"]>[number];
type PicturePrompt = NonNullable<StoredGenerate["ipAdapter"]>[number];
type Pictures = "image" | "images" | "mask" | "controlnet" | "ipAdapter";
/** Lists may be long; that they are drawn from is enough. */
type Lists = "wildcards";

/** A request as it comes back. */
export type GenerateView = Omit<StoredGenerate, Pictures | Lists> & {
  readonly wildcards?: true;
  readonly image?: PictureView;
  /** In its place: picture i starts from number i, after the last from the first. */
  readonly images?: readonly PictureView[];
  readonly mask?: PictureView;
  readonly controlnet?: readonly (Omit<Control, "image" | "mask"> & {
    readonly image: PictureView;
    readonly mask?: PictureView;
  })[];
  readonly ipAdapter?: readonly (Omit<PicturePrompt, "image"> & {
    readonly image: readonly PictureView[];
  })[];
};
export type UpscaleView = Omit<StoredUpscale, "image"> & { readonly image: PictureView };
export type RequestView = GenerateView | UpscaleView;

/** A job as clients see it. */
export interface JobView extends Omit<Job, "request" | "result" | "progress" | "task" | "lane" | "attended"> {
  /** Label of the model; "upscale" for a picture that is enlarged without one. */
  readonly model: string;
  /** Jobs in front of it while it waits. */
  readonly position?: number;
  readonly request: RequestView;
  readonly progress?: Omit<JobProgress, "finished"> & { readonly finished?: readonly ImageView[] };
  readonly result?: Omit<JobResult, "images"> & { readonly images: readonly ImageView[] };
}

export interface ModelView extends Pick<ModelOption, "label" | "name" | "precision" | "origin"> {
  readonly kind: ModelInfo["kind"];
  /** Whether it finishes what another model has begun (SDXL's refiner). */
  readonly isRefiner: boolean;
  /** Whether clip skip of the web UI's pictures changes nothing (Stable Diffusion 2, XL). */
  readonly ignoresWebuiClipSkip: boolean;
  readonly size: number;
  readonly factor: number;
  readonly scheduler: string;
  /** What a request that leaves it open is made with. */
  readonly usual: ModelInfo["usual"];
  readonly state: ModelState;
  /** Whether requests that name no model use it. */
  readonly current: boolean;
}

export interface ModelList {
  readonly models: readonly ModelView[];
  readonly unusable: readonly { readonly name: string; readonly problem: string }[];
  readonly precisions: readonly PrecisionView[];
  /** The latest one, if any was started. */
  readonly preparation?: Preparation;
}

export interface PrecisionView {
  readonly id: Precision;
  readonly label: string;
  /** Whether this machine's processor has it. */
  readonly available: boolean;
}

/** @param position of a job that waits */
export function jobView(job: Job, position: number | undefined): JobView {
  const { request, result, progress, task, lane, attended, ...rest } = job;
  return {
    ...rest,
    model: lane,
    ...(position !== undefined && { position }),
    request: requestView(request),
    ...(progress && { progress: progressView(progress) }),
    ...(result && { result: { ...result, images: result.images.map(imageView) } }),
  };
}

function progressView({ finished, ...progress }: JobProgress): NonNullable<JobView["progress"]> {
  return { ...progress, ...(finished && { finished: finished.map(imageView) }) };
}

const imageView = (image: JobImage): ImageView => ({ ...image, ...pictureView(image.key) });

function requestView(request: StoredRequest): RequestView {
  if (request.kind === "upscale") return { ...request, image: pictureView(request.image) };
  const { image, images, mask, controlnet, ipAdapter, wildcards, ...rest } = request;
  return {
    ...rest,
    ...(wildcards && { wildcards: true }),
    ...(image && { image: pictureView(image) }),
    ...(images && { images: images.map(pictureView) }),
    ...(mask && { mask: pictureView(mask) }),
    ...(controlnet && {
      controlnet: controlnet.map(({ image, mask, ...control }) => ({
        ...control,
        image: pictureView(image),
        ...(mask && { mask: pictureView(mask) }),
      })),
    }),
    ...(ipAdapter && {
      ipAdapter: ipAdapter.map((prompt) => ({ ...prompt, image: [prompt.image].flat().map(pictureView) })),
    }),
  };
}

const pictureView = (key: string): PictureView => ({ url: imageUrl(key) });

const imageUrl = (key: string): string => `/images/${key}.png`;
