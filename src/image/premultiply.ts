/** x / 255, rounded, in integers as Pillow does it; exact up to 255 * 255. */
export function divide255(x: number): number {
  const t = x + 128;
  return ((t >> 8) + t) >> 8;
}

/** RGBA with every colour multiplied by its alpha (Pillow's mode RGBa). */
export function premultiply(rgba: Uint8Array): Uint8Array {
  const out = new Uint8Array(rgba.length);
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3]!;
    for (let c = 0; c < 3; c++) out[i + c] = divide255(rgba[i + c]! * alpha);
    out[i + 3] = alpha;
  }
  return out;
}

/** The inverse of `premultiply`, as far as 8 bits allow; where alpha is 0 the colour stays as it is. */
export function unpremultiply(rgba: Uint8Array): Uint8Array {
  const out = rgba.slice();
  for (let i = 0; i < out.length; i += 4) {
    const alpha = out[i + 3]!;
    if (alpha === 0 || alpha === 255) continue;
    for (let c = 0; c < 3; c++) out[i + c] = Math.min(255, Math.trunc((255 * out[i + c]!) / alpha));
  }
  return out;
}
