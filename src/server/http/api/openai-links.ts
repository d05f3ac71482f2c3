import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { type Context, Hono } from "hono";
import type { Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import { inFormat, type OutputFormat } from "../../storage/images.js";
import type { Settings } from "../../storage/settings.js";
import { isImageKey } from "../../storage/store.js";

/** OpenAI's addresses of pictures are good for so long. */
const goodForMs = 60 * 60_000;

interface Linked {
  readonly key: string;
  readonly format: OutputFormat;
  /** 0 to 100, of JPEG and WebP. */
  readonly quality: number | undefined;
}

/**
 * The address of a picture that is good for an hour and needs no login: clients of OpenAI fetch it without one. It is
 * signed, so that nobody makes others of it.
 */
export async function linkTo(c: Context, { settings }: Parts, linked: Linked): Promise<string> {
  const { key, format, quality } = linked;
  const until = String(Date.now() + goodForMs);
  const url = new URL(`/v1/images/links/${key}.${format}`, c.req.url);
  const signature = sign(await secretOf(settings), [key, format, String(quality ?? ""), until]);
  url.search = new URLSearchParams({
    ...(quality !== undefined && { quality: String(quality) }),
    until,
    signature,
  }).toString();
  return url.href;
}

/** What is served without a login: pictures by their signed addresses. */
export function linkedImages({ images, settings }: Pick<Parts, "images" | "settings">): Hono {
  const app = new Hono();
  app.get("/v1/images/links/:file", async (c) => {
    const [, key = "", format = ""] = /^([0-9a-f]{64})\.(png|jpeg|webp)$/.exec(c.req.param("file")) ?? [];
    const { quality = "", until = "", signature = "" } = c.req.query();
    const right = sign(await secretOf(settings), [key, format, quality, until]);
    if (!isImageKey(key) || !same(signature, right))
      throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    if (Date.now() > Number(until))
      throw new Refusal(404, "EXPIRED", "this address of the picture was good for an hour");
    const png = await images.get(key);
    if (!png) throw new Refusal(404, "NOT_FOUND", "the picture has been deleted");
    const bytes = await inFormat(png, format as OutputFormat, quality === "" ? undefined : Number(quality));
    return c.body(Uint8Array.from(bytes).buffer, 200, {
      "Content-Type": `image/${format}`,
      "Cache-Control": "private, max-age=3600",
    });
  });
  return app;
}

/** Shared by the servers of one data folder, and kept, so that addresses outlive a start. */
async function secretOf(settings: Settings): Promise<string> {
  if (settings.data.linkSecret === undefined) {
    const drawn = randomBytes(32).toString("base64url");
    await settings.set(({ linkSecret = drawn }) => ({ linkSecret }));
  }
  return settings.data.linkSecret!;
}

const sign = (secret: string, parts: readonly string[]): string =>
  createHmac("sha256", secret).update(parts.join(" ")).digest("base64url");

const same = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
