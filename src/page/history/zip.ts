import { Zip, ZipPassThrough } from "fflate";
import { fileNameOf } from "../viewer/actions.js";
import { load } from "../viewer/restore.js";
import type { Shown } from "../viewer/viewed.js";

/** The files of a ZIP by their names; pictures that two jobs share stand in it once. */
export async function zipOf(pictures: readonly Shown[]): Promise<Blob> {
  const files: Record<string, Uint8Array> = {};
  for (const shown of pictures) {
    const day = new Date(shown.job.created).toISOString().slice(0, 10);
    files[`${day}-${fileNameOf(shown)}`] ??= new Uint8Array(
      await (await load(shown.image.url)).arrayBuffer(),
    );
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const zip = new Zip((error, part) => {
    if (error) throw error;
    parts.push(Uint8Array.from(part));
  });
  for (const [name, bytes] of Object.entries(files)) {
    // PNG is packed already: without what packs, the script stays small.
    const entry = new ZipPassThrough(name);
    zip.add(entry);
    entry.push(bytes, true);
  }
  zip.end();
  return new Blob(parts, { type: "application/zip" });
}

export function saveAs(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
