/** 256 pixels to 1024, by Lanczos and by the network that comes along: npx tsx scripts/pictures/upscaling.ts docs/upscaling.webp docs/gallery/dog.webp */
import sharp from "sharp";
import { readImage, upscale } from "../../src/index.js";

const [file, source] = process.argv.slice(2);
if (file === undefined || source === undefined) throw new Error("usage: upscaling.ts file.webp picture");

const small = await readImage(source);
const [width, height] = [4 * small.width, 4 * small.height];
const raw = ({ width, height, data }: typeof small) =>
  sharp(data, { raw: { width, height, channels: data.length === width * height * 4 ? 4 : 3 } });
const resampled = await raw(small)
  .resize(width, height, { kernel: "lanczos3" })
  .removeAlpha()
  .raw()
  .toBuffer();
const drawn = await upscale(small);

// The same part of both, as large as a page shows it: the whole would be made smaller again.
const part = { left: Math.round(width * 0.14), top: Math.round(height * 0.14), width: 448, height: 448 };
const pictures = await Promise.all(
  [{ width, height, data: new Uint8Array(resampled) }, drawn].map((picture) =>
    raw(picture).extract(part).png().toBuffer(),
  ),
);
await sharp(pictures, { join: { across: 2, shim: 8, background: "white" } })
  .webp({ quality: 85, effort: 6 })
  .toFile(file);
