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

/** What a server is given beside that. */
export interface ServeOptions extends ServiceOptions {
  /** Default 7860, the web UI's. 0 takes a free one. */
  readonly port?: number;
  /** Address to listen on; default 127.0.0.1. Anything but loopback needs `auth`. */
  readonly listen?: string;
  /** "user:password" */
  readonly auth?: string;
  /**
   * A secret in the URL of the page, against other users of this machine: `true` draws one. Programs send it as a Bearer
   * token or as a password. In place of `auth`.
   */
  readonly token?: boolean | string;
  /** Whether "Optimize model" takes paths of this machine. Default false: hub names, and what is on the list. */
  readonly allowPaths?: boolean;
  /** Further values of the Host header, such as "pictures.example:443" behind a proxy. */
  readonly allowHosts?: readonly string[];
  /** The model to begin with: one of the list, a folder or a file. Default: the one chosen last, else the default model. */
  readonly model?: string;
  /** A CSV file of styles, as the web UI writes it. */
  readonly styles?: string;
  /** A folder of lists that prompts draw from: a text file for each. */
  readonly wildcards?: string;
  /** redis://host:port of a queue that workers share; then this process loads no model. */
  readonly queue?: string;
  /** Milliseconds after which a job that has ended is forgotten, with its pictures; favourites stay. Default: never. */
  readonly keepMs?: number;
  /** Folder of the built page. Default: the package's own. */
  readonly page?: string;
}
