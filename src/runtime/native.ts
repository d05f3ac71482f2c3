import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as tfjs from "@tensorflow/tfjs";
import { packageFolder, pathOf } from "../disk/package.js";
import { DiffusionError } from "../errors.js";

/** The part of tfjs-node's C++ binding that runs saved graphs. Tensors are numbers that must be deleted. */
interface Binding {
  readonly TF_FLOAT: number;
  readonly TF_INT32: number;
  readonly TF_UINT8: number;
  createTensor(
    shape: readonly number[],
    type: number,
    values: Float32Array | Int32Array | Uint8Array,
  ): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  loadSavedModel(folder: string, tags: string): number;
  deleteSavedModel(id: number): void;
  getNumOfSavedModels(): number;
  runSavedModel(
    id: number,
    inputs: readonly number[],
    inputNames: string,
    outputNames: string,
  ): { id: number; shape: number[]; dtype: number }[];
}

/** A message class of tfjs-node's copy of TensorFlow's protobuf definitions. */
export interface Message {
  serializeBinary(): Uint8Array;
  // biome-ignore lint/suspicious/noExplicitAny: generated setters, one per field
  readonly [method: string]: any;
}

export interface Native {
  /** Loaded when it is first asked for: graphs do without, and it takes as long to load as the library. */
  readonly tf: typeof tfjs;
  /** Tensors that tfjs holds; 0 as long as it is not loaded. */
  readonly tensors: () => number;
  readonly binding: Binding;
  readonly protobuf: Readonly<Record<string, new () => Message>>;
  /** TensorFlow's version, such as "2.18.1". */
  readonly version: string;
}

let native: Native | undefined;

/**
 * Loads TensorFlow once. What only the environment can set must be set before: oneDNN is off by default on CPUs
 * without VNNI, and thread counts and allocator settings come from whoever starts the process.
 *
 * @throws DiffusionError NATIVE_MISSING when the addon or TensorFlow's library cannot be loaded
 */
export function loadNative(): Native {
  if (native) return native;
  process.env.TF_ENABLE_ONEDNN_OPTS ??= "1";
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  const require = createRequire(pathOf(import.meta.url));
  restoreRemovedFunctions(require("node:util"));
  let tf: typeof tfjs | undefined;
  const load = () => {
    tf ??= require("@tensorflow/tfjs-node") as typeof tfjs;
    return tf;
  };
  try {
    const binding = loadAddon(require);
    native = {
      get tf() {
        return load();
      },
      tensors: () => tf?.memory().numTensors ?? 0,
      binding,
      get protobuf() {
        return require("@tensorflow/tfjs-node/dist/proto/api_pb.js") as Native["protobuf"];
      },
      version: binding.TF_Version ?? "unknown",
    };
    return native;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new DiffusionError("NATIVE_MISSING", `TensorFlow's native library cannot be loaded: ${reason}`, {
      hint: "run `npx tfjs-diffusion setup` to install it, or `npx tfjs-diffusion doctor` to see what is missing",
      cause,
    });
  }
}

type Addon = Binding & { readonly TF_Version?: string };

/**
 * Package managers that keep what a script has built (pnpm) run none in a second project, and a cache may have been
 * moved: where the addon is missing and TensorFlow's library is not, set-up puts it in its place.
 */
function loadAddon(require: NodeJS.Require): Addon {
  try {
    return require(addonFile(require)) as Addon;
  } catch (error) {
    if (!placeFromCache()) throw error;
    return require(addonFile(require)) as Addon;
  }
}

function placeFromCache(): boolean {
  const script = join(packageFolder(), "scripts", "setup.mjs");
  return spawnSync(process.execPath, [script, "--from-cache"], { stdio: "ignore" }).status === 0;
}

/** The C++ addon of tfjs-node, which tfjs-node itself loads from here: lib/napi-v8/tfjs_binding.node. */
function addonFile(require: NodeJS.Require): string {
  const library = join(dirname(require.resolve("@tensorflow/tfjs-node/package.json")), "lib");
  const folder = existsSync(library)
    ? readdirSync(library).find((name) => name.startsWith("napi-v"))
    : undefined;
  if (!folder) throw new Error(`there is no addon in ${library}`);
  return join(library, folder, "tfjs_binding.node");
}

/** tfjs-node 4.22 calls functions that Node 23 removed, and that Node 22 warns of. */
function restoreRemovedFunctions(util: Record<string, unknown>): void {
  util.isNullOrUndefined = (value: unknown) => value === null || value === undefined;
  util.isArray = Array.isArray;
}
