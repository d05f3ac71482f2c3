import { Hono } from "hono";
import sharp from "sharp";
import type { Parts } from "../../jobs/accept.js";
import { Refusal } from "../../refusal.js";
import { pictureBeside } from "../../storage/beside.js";
import { isImageKey } from "../../storage/store.js";
import type { Answers } from "../answers.js";

/** Longer sides of the small pictures that may be asked for, in pixels. */
const thumbnailSizes = [128, 256, 512];

/** Pictures for looking through: small ones, and which of them somebody likes. */
export function picturesApi({ images, settings, models }: Parts): Hono {
  const app = new Hono();

  app.get("/thumbnails/:size/:file", async (c) => {
    const [, key = ""] = /^(.*)\.webp$/.exec(c.req.param("file")) ?? [];
    const size = thumbnailSizes.find((size) => String(size) === c.req.param("size"));
    if (size === undefined)
      throw new Refusal(400, "BAD_OPTION", `the size must be one of ${thumbnailSizes.join(", ")}`);
    const png = isImageKey(key) ? await images.get(key) : undefined;
    if (!png) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    const small = await sharp(png)
      .resize(size, size, { fit: "inside", withoutEnlargement: true })
      .webp({ quality: 80 })
      .toBuffer();
    return c.body(Uint8Array.from(small).buffer, 200, {
      "Content-Type": "image/webp",
      "Cache-Control": "private, max-age=31536000, immutable",
    });
  });

  app.get("/loras", async (c) => {
    const loras = (await models.loras()).map(async ({ name, path }) => ({
      name,
      ...((await pictureBeside(path)) && { preview: `/previews/lora/${encodeURIComponent(name)}.webp` }),
    }));
    return c.json({ loras: await Promise.all(loras) } satisfies Answers["GET /loras"]);
  });
  app.get("/previews/lora/:file", async (c) => {
    const [, name = ""] = /^(.*)\.webp$/s.exec(c.req.param("file")) ?? [];
    // Among those of the list, so that a name is never a path.
    const found = (await models.loras()).find((lora) => lora.name === name);
    const picture = found && (await pictureBeside(found.path));
    if (!picture) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    const small = await sharp(picture)
      .resize(256, 256, { fit: "cover", withoutEnlargement: true })
      .webp({ quality: 80 })
      .toBuffer();
    return c.body(Uint8Array.from(small).buffer, 200, {
      "Content-Type": "image/webp",
      "Cache-Control": "private, max-age=60",
    });
  });

  app.get("/favourites", (c) =>
    c.json({ keys: settings.data.favourites } satisfies Answers["GET /favourites"]),
  );
  app.put("/favourites/:key", async (c) => {
    const key = c.req.param("key");
    if (!isImageKey(key) || !(await images.get(key)))
      throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    await settings.set(({ favourites }) => ({ favourites: [...new Set([...favourites, key])] }));
    return c.body(null, 204);
  });
  app.delete("/favourites/:key", async (c) => {
    const key = c.req.param("key");
    await settings.set(({ favourites }) => ({ favourites: favourites.filter((one) => one !== key) }));
    return c.body(null, 204);
  });

  return app;
}
