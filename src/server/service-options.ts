import type { LoadOptions } from "../index.js";
import type { AdapterFolders } from "./jobs/adapter-files.js";
import type { Log } from "./log.js";
import type { Limits } from "./requests/limits.js";

/** What servers and workers are given alike; those that share a queue name the same folders, or copies of them. */
export interface ServiceOptions extends AdapterFolders {
  /** A folder of models for the list. */
  readonly models?: string;
  /** Where pictures, history and settings are kept. Default: TFJS_DIFFUSION_DATA, else the user's data folder. */
  readonly dataDir?: string;
  /** Where pictures are kept instead: s3://bucket/prefix. */
  readonly images?: string;
  /** Default of `hangMs` and `memoryLimit`: ten minutes for a call, nine tenths of the memory. */
  readonly load?: Pick<
    LoadOptions,
    "threads" | "cacheDir" | "prediction" | "config" | "memoryLimit" | "hangMs"
  >;
  /** What a job may take; workers check it again. */
  readonly limits?: Partial<Limits>;
  /** Milliseconds that a running job is given at the end; of a queue in Redis, another worker gets it then. Default 30 s. */
  readonly graceMs?: number;
  /** Milliseconds in which what a start needs has to answer: Redis, the store of pictures. Default 4 s. */
  readonly startMs?: number;
  /** What this process is called in the records of jobs; no other one may be called so. */
  readonly name?: string;
  /** Lines for people, and what each is about for programs. */
  readonly log?: Log;
}
