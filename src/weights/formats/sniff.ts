/** What a file that is not safetensors is, from its first bytes; with what to do about it. */
export interface Sniffed {
  readonly what: string;
  readonly hint: string;
}

const pickle: Sniffed = {
  what: "a PyTorch pickle checkpoint (.ckpt, .pt, .bin), where safetensors are expected",
  hint: "Get the .safetensors version of it.",
};
const download = "Download the file again.";

const magics: readonly (readonly [start: string, sniffed: Sniffed])[] = [
  ["PK\x03\x04", pickle],
  ["\x80\x02", pickle],
  ["\x80\x03", pickle],
  ["\x80\x04", pickle],
  ["\x80\x05", pickle],
  [
    "version https://git-lfs",
    { what: "a Git LFS pointer, not the file itself", hint: "Run `git lfs pull` in that folder." },
  ],
  ["GGUF", { what: "a GGUF file", hint: "Get the model as .safetensors." }],
  ["\x89HDF", { what: "an HDF5 file", hint: "Get the model as .safetensors." }],
  ["\x1f\x8b", { what: "gzip-compressed", hint: "Decompress it first." }],
  ["Rar!\x1a\x07", { what: "a RAR archive", hint: "Unpack it first." }],
  ["7z\xbc\xaf", { what: "a 7z archive", hint: "Unpack it first." }],
];

/** `start`: the first bytes of the file, 512 are plenty. */
export function sniff(start: Uint8Array): Sniffed | undefined {
  const text = Buffer.from(start.subarray(0, 64)).toString("latin1");
  if (Buffer.from(start).toString("latin1", 257, 262) === "ustar")
    return { what: "a tar archive", hint: "Unpack it first." };
  const found = magics.find(([magic]) => text.startsWith(magic));
  if (found) return found[1];
  if (/^\s*<(!doctype|html|\?xml|head)/i.test(text))
    return { what: "a web page: the download ended at an error or a login", hint: download };
  if (/^\s*\{\s*"/.test(text)) return { what: "a JSON text", hint: download };
  if (start.length > 0 && start.every((byte) => byte === 0))
    return { what: "filled with zeros: a download that was cut", hint: download };
  if (/^[\t\n\r\x20-\x7e]{8,}$/.test(text))
    return { what: `a text, which begins with "${text.slice(0, 40).split(/[\r\n]/)[0]}"`, hint: download };
  return undefined;
}
