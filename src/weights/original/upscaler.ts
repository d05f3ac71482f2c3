import type { Mapping, Origin } from "../checkpoint.js";

/** What training codes put around the weights; of two sets, the averaged one is what people use. */
const prefixes = ["params_ema.", "params.", "module.", "generator."];

/** Names of BasicSR's RRDBNet and SRVGGNetCompact, whichever of three ESRGAN layouts a file has. */
export const upscalerMapping: Mapping = (stored) => {
  const names = [...stored.keys()];
  const prefix = prefixes.find((start) => names.some((name) => name.startsWith(start))) ?? "";
  const own = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const rename = stored.has(`${prefix}model.0.weight`) ? sequential(own) : renamed;
  return new Map(own.map((name): [string, Origin] => [rename(name), { from: prefix + name }]));
};

/** The first ESRGAN release: one torch `Sequential`, whose last convolutions have numbers that depend on the scale. */
function sequential(names: readonly string[]): (name: string) => string {
  const tops = names.flatMap((name) => /^model\.(\d+)\.weight$/.exec(name)?.[1] ?? []).map(Number);
  const numbers = tops.sort((a, b) => a - b).slice(1);
  const [hr, last] = numbers.slice(-2);
  const ups = numbers.slice(0, -2);
  const blocks = Math.max(...names.map((name) => Number(/^model\.1\.sub\.(\d+)\./.exec(name)?.[1] ?? 0)));
  const places = new Map<number, string>([
    [0, "conv_first"],
    ...ups.map((number, i): [number, string] => [number, `conv_up${i + 1}`]),
    [hr ?? -1, "conv_hr"],
    [last ?? -1, "conv_last"],
  ]);
  return (name) => {
    const [, number, rest] = /^model\.(\d+)\.(weight|bias)$/.exec(name) ?? [];
    if (number) return `${places.get(Number(number)) ?? `model.${number}`}.${rest}`;
    return name
      .replace(`model.1.sub.${blocks}.`, "conv_body.")
      .replace(/^model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0\./, "body.$1.rdb$2.$3.")
      .replace(/^model\.1\.sub\.(\d+)\.RDB(\d)\.conv1x1\./, "body.$1.rdb$2.conv1x1.");
  };
}

/** ESRGAN's later release has Real-ESRGAN's modules under other names. */
const renamed = (name: string): string =>
  name
    .replace(/^RRDB_trunk\.(\d+)\.RDB(\d)\./, "body.$1.rdb$2.")
    .replace(/^trunk_conv\./, "conv_body.")
    .replace(/^upconv(\d)\./, "conv_up$1.")
    .replace(/^HRconv\./, "conv_hr.");
