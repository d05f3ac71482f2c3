import { Refusal } from "../../refusal.js";
import { isControlNet } from "./sdapi-controlnet-units.js";
import type { Img2img, Txt2img } from "./sdapi-schema.js";

type Request = Txt2img | Img2img;

/**
 * What the arguments of a script of the web UI's own page repeat of the request: field by field, in their order. They
 * do nothing there when they come through the API, so that only those which say something else are refused.
 */
const repeating: Readonly<Record<string, (request: Request) => readonly unknown[]>> = {
  sampler: ({ steps, sampler_name, sampler_index, scheduler }) => [
    steps,
    sampler_name || sampler_index,
    scheduler || "Automatic",
  ],
  seed: (request) => [
    request.seed,
    request.subseed_strength > 0 || request.seed_resize_from_w > 0,
    request.subseed,
    request.subseed_strength,
    Math.max(0, request.seed_resize_from_w),
    Math.max(0, request.seed_resize_from_h),
  ],
};

/** @throws Refusal for scripts that are switched on, or say something else than the request */
export function refuseScripts(request: Request): void {
  for (const [name, given] of Object.entries(request.alwayson_scripts ?? {})) {
    if (isControlNet(name)) continue;
    const args = argsOf(given);
    const own = repeating[name.toLowerCase()]?.(request);
    if (own) refuseOtherWords(name, args, own);
    else if (!isOff(name, args))
      throw new Refusal(422, "SCRIPT", `always on script ${name.slice(0, 100)} not found`, {
        hint: "this server has ControlNet; leave others out, or switch them off",
      });
  }
  if (request.script_name && request.script_name !== "None")
    throw new Refusal(422, "SCRIPT", `Script '${request.script_name.slice(0, 100)}' not found`);
}

function argsOf(given: unknown): readonly unknown[] {
  if (Array.isArray(given)) return given;
  const { args = [] } = (given ?? {}) as { args?: unknown };
  return Array.isArray(args) ? args : [args];
}

/** Clients send the arguments of extensions that they know: empty, or with what switches them off. */
function isOff(name: string, args: readonly unknown[]): boolean {
  // Those that change faces have a picture of one in front.
  const [first] = /^(roop|reactor)$/i.test(name) ? args.slice(1) : args;
  return first === undefined || isFalse(first) || args.every(saysOff);
}

const isFalse = (arg: unknown): boolean => arg === false || /^false$/i.test(String(arg));

/** Nothing, or an object of an extension that has a field of its own for it (of ADetailer, of AnimateDiff). */
function saysOff(arg: unknown): boolean {
  if (typeof arg !== "object" || arg === null) return arg == null || arg === "" || arg === false;
  const { enabled, enable, is_enabled, ad_model } = arg as Record<string, unknown>;
  return [enabled, enable, is_enabled].includes(false) || ad_model === "None";
}

/** Numbers as text, words in any case, and what is left out or null are the same. */
function refuseOtherWords(name: string, args: readonly unknown[], own: readonly unknown[]): void {
  const plain = (value: unknown) => String(value).toLowerCase();
  const other = args.findIndex(
    (arg, i) =>
      arg != null && i < own.length && plain(arg) !== plain(own[i]) && Number(arg) !== Number(own[i]),
  );
  if (other < 0) return;
  throw new Refusal(
    422,
    "SCRIPT",
    `alwayson_scripts.${name}.args.${other} is ${JSON.stringify(args[other])}, and the request says ${JSON.stringify(own[other])}`,
    { hint: "say it in the request's own field" },
  );
}
