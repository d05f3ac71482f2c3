import type { Context } from "hono";
import type { Size } from "../../../index.js";
import { decodeBase64 } from "../../foreign/foreign.js";
import { admitted, type Parts } from "../../jobs/accept.js";
import { acceptUpscale } from "../../jobs/accept-upscale.js";
import { isOfRequest, Refusal } from "../../refusal.js";
import { clientOf } from "../security.js";
import type { ExtraBatchImages, ExtraSingleImage } from "./sdapi-schema.js";

/** The web UI's "extras": a picture made larger. */
export async function extra(c: Context, parts: Parts, body: ExtraSingleImage) {
  if (body.gfpgan_visibility > 0 || body.codeformer_visibility > 0 || body.extras_upscaler_2_visibility > 0)
    throw new Refusal(501, "UNSUPPORTED", "this server restores no faces and blends no second upscaler");
  if (body.image === "") throw new Refusal(404, "NO_IMAGE", "Image not found");
  const pictures = parts.foreign.ofRequest();
  if (body.upscaler_1 === "None") {
    // As it is seen: upright, in RGB, and a picture at all.
    const { png } = await pictures.make("plain", decodeBase64(body.image));
    return { html_info: "", image: Buffer.from(png).toString("base64") };
  }
  const accepted = await admitted(parts, { client: clientOf(c) }, async () => {
    const image = await pictures.make("plain", decodeBase64(body.image));
    return acceptUpscale(
      { kind: "upscale", image, upscaler: body.upscaler_1, ...sizeOf(body, image) },
      parts,
      pictures,
    );
  });
  const job = await parts.jobs.run({ ...accepted, via: "sdapi" }, c.req.raw.signal);
  const [made] = job.result?.images ?? [];
  const png = made && (await parts.images.get(made.key));
  if (!png && job.status === "cancelled")
    throw new Refusal(
      409,
      "CANCELLED",
      "the job was interrupted: there is no picture that is enlarged in part",
    );
  const { code = "LOST", message = "the job was lost" } = job.error ?? {};
  if (!png) throw new Refusal(isOfRequest(code) ? 422 : 500, code, message);
  return { html_info: made.parameters, image: Buffer.from(png).toString("base64") };
}

/** The same for several, one after the other. */
export async function extraBatch(c: Context, parts: Parts, { imageList, ...body }: ExtraBatchImages) {
  const made = [];
  for (const { data } of imageList) made.push(await extra(c, parts, { ...body, image: data }));
  return {
    html_info: made.map(({ html_info }) => html_info).join("\n"),
    images: made.map(({ image }) => image),
  };
}

/** Mode 0 multiplies; mode 1 covers the size given, and what is too much is cropped away or stays. */
function sizeOf(body: ExtraSingleImage, { width, height }: Size) {
  const { resize_mode, upscaling_resize, upscaling_resize_w, upscaling_resize_h, upscaling_crop } = body;
  if (resize_mode === 0) return { scale: upscaling_resize };
  const scale = Math.max(upscaling_resize_w / width, upscaling_resize_h / height);
  return {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
    ...(upscaling_crop && { crop: { width: upscaling_resize_w, height: upscaling_resize_h } }),
  };
}
