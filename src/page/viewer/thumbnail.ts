import type { ImageView } from "../server.js";

/** A small WebP of a picture, which the server makes. @param size of its longer side in pixels */
export const thumbnailUrl = ({ key }: Pick<ImageView, "key">, size: 128 | 256 | 512): string =>
  `/thumbnails/${size}/${key}.webp`;
