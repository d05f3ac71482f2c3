import { Hono } from "hono";
import sharp from "sharp";
import { preprocessors } from "../../../index.js";
import type { Parts } from "../../jobs/accept.js";
import type { WeightFile } from "../../jobs/weight-files.js";
import { Refusal } from "../../refusal.js";
import { pictureBeside } from "../../storage/beside.js";
import { isImageKey } from "../../storage/store.js";
import type { Answers, Named } from "../answers.js";

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

  const lists = {
    lora: () => models.files.loras(),
    embed: () => models.files.embeddings(),
    control: () => models.files.controls(),
    "ip-adapter": () => models.files.ipAdapters(),
  } as const satisfies Record<string, () => Promise<readonly WeightFile[]>>;
  const isKind = (name: string): name is keyof typeof lists => Object.hasOwn(lists, name);
  /** What a folder has, with the picture that lies beside each. */
  const named = async (kind: keyof typeof lists): Promise<Named[]> => {
    // Of several files of one name the first is found.
    const first = new Map((await lists[kind]()).toReversed().map(({ name, path }) => [name, path]));
    const all = [...first].toReversed().map(async ([name, path]) => ({
      name,
      ...((await pictureBeside(path)) && { preview: `/previews/${kind}/${encodeURIComponent(name)}.webp` }),
    }));
    return Promise.all(all);
  };

  app.get("/loras", async (c) => c.json({ loras: await named("lora") } satisfies Answers["GET /loras"]));
  app.get("/embeddings", async (c) =>
    c.json({ embeddings: await named("embed") } satisfies Answers["GET /embeddings"]),
  );
  app.get("/controls", async (c) =>
    c.json({ controls: await named("control"), preprocessors } satisfies Answers["GET /controls"]),
  );
  app.get("/ip-adapters", async (c) =>
    c.json({ ipAdapters: await named("ip-adapter") } satisfies Answers["GET /ip-adapters"]),
  );
  app.get("/previews/:kind/:file", async (c) => {
    const [, name = ""] = /^(.*)\.webp$/s.exec(c.req.param("file")) ?? [];
    const kind = c.req.param("kind");
    // Among those of the list, so that a name is never a path.
    const found = isKind(kind) ? (await lists[kind]()).find((one) => one.name === name) : undefined;
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
