import {
  ClipboardCopy,
  Dices,
  Download,
  Frame,
  Heart,
  Image as ImageIcon,
  Paintbrush,
  Quote,
  RotateCcw,
  Scaling,
  Trash2,
} from "lucide-preact";
import type { ComponentChildren } from "preact";
import { problemOf } from "../jobs.js";
import { leftOutOfJob } from "../left-out.js";
import { go, note } from "../navigation.js";
import { generateOf, promptOf } from "../server.js";
import { type Mode, settings } from "../settings.js";
import { type Translate, useWords } from "../store.js";
import { setFavourite, useFavourites } from "./favourites.js";
import { remove } from "./removal.js";
import { load, restoreJob, takeShown } from "./restore.js";
import { closeViewer, type Shown } from "./viewed.js";

const targets = [
  ["image", ImageIcon],
  ["inpaint", Paintbrush],
  ["outpaint", Frame],
  ["upscale", Scaling],
] as const satisfies readonly (readonly [Mode, unknown])[];

/** What the keys of the viewer do, too. */
export interface PictureDeeds {
  readonly reuse?: () => Promise<void>;
  readonly reuseSeed?: () => void;
  readonly send: (target: Mode) => Promise<void>;
  readonly copyPicture?: () => Promise<void>;
  readonly copyPrompt?: () => Promise<void>;
  readonly like: (liked: boolean) => Promise<void>;
  readonly remove: () => void;
}

/** What can be done with a finished picture; what cannot is absent. */
export function deedsOf(shown: Shown, t: Translate): PictureDeeds {
  const { image, job } = shown;
  const request = generateOf(job);
  const prompt = promptOf(job);
  // Only on this machine, or over TLS: elsewhere browsers keep it to themselves.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  const said = (word: "copiedPicture" | "copiedPrompt") => note.set(t(word));
  const failed = (error: unknown) => note.set(problemOf(error, t("connectionLost")));
  return {
    ...(request && {
      reuse: async () => {
        const mode = await restoreJob(shown, request);
        await closeViewer();
        const lost = leftOutOfJob(request);
        go(mode, t("restored") + (lost.length > 0 ? ` ${t("leftOut", lost.join(", "))}` : ""));
      },
    }),
    ...(image.seed !== undefined && {
      reuseSeed: () => {
        settings.update({ seed: image.seed ?? "" });
        note.set(t("restoredSeed", image.seed ?? ""));
      },
    }),
    send: async (target) => {
      await takeShown(shown);
      await closeViewer();
      go(target);
    },
    ...(clipboard && {
      copyPicture: async () => {
        await clipboard.write([new ClipboardItem({ "image/png": load(image.url) })]);
        said("copiedPicture");
      },
    }),
    ...(clipboard &&
      prompt && {
        copyPrompt: async () => {
          await clipboard.writeText(prompt);
          said("copiedPrompt");
        },
      }),
    like: (liked) => setFavourite([image.key], liked).catch(failed),
    remove: () => remove([job.id]),
  };
}

export const fileNameOf = ({ image }: Shown): string =>
  `${image.seed ?? "picture"}-${image.key.slice(0, 8)}.png`;

/** The actions of a picture in one bar of icons. */
export function PictureActions({
  shown,
  keys = false,
  children,
}: {
  readonly shown: Shown;
  readonly keys?: boolean;
  /** What stands first in the bar. */
  readonly children?: ComponentChildren;
}) {
  const t = useWords();
  const deeds = deedsOf(shown, t);
  const liked = useFavourites().has(shown.image.key);
  const { image } = shown;
  /** A name, with the key that does the same in the viewer. */
  const named = (name: string, key: string) => ({
    "aria-label": name,
    title: keys ? `${name} (${key})` : name,
  });
  return (
    <div class="bar" role="toolbar" aria-label={t("actions")}>
      {children}
      {deeds.reuse && (
        <button type="button" class="icon" {...named(t("restore"), "R")} onClick={() => void deeds.reuse?.()}>
          <RotateCcw />
        </button>
      )}
      {deeds.reuseSeed && (
        <button
          type="button"
          class="icon seeded"
          {...named(`${t("seedReuse")} ${image.seed}`, "S")}
          onClick={deeds.reuseSeed}
        >
          <Dices />
          <span>{image.seed}</span>
        </button>
      )}
      <fieldset class="bar send">
        <legend class="visually-hidden">{t("sendTo")}</legend>
        {targets.map(([target, Icon]) => (
          <button
            key={target}
            type="button"
            class="icon"
            aria-label={t(target)}
            title={`${t("sendTo")}: ${t(target)}`}
            onClick={() => void deeds.send(target)}
          >
            <Icon />
            <span class="named">{t(target)}</span>
          </button>
        ))}
      </fieldset>
      <a class="button icon" href={image.url} download={fileNameOf(shown)} {...named(t("download"), "D")}>
        <Download />
      </a>
      {deeds.copyPicture && (
        <button
          type="button"
          class="icon"
          {...named(t("copyPicture"), "C")}
          onClick={() => void deeds.copyPicture?.()}
        >
          <ClipboardCopy />
        </button>
      )}
      {deeds.copyPrompt && (
        <button
          type="button"
          class="icon"
          {...named(t("copyPrompt"), "P")}
          onClick={() => void deeds.copyPrompt?.()}
        >
          <Quote />
        </button>
      )}
      <button
        type="button"
        class="icon"
        aria-pressed={liked}
        {...named(t("favourite"), "F")}
        onClick={() => void deeds.like(!liked)}
      >
        <Heart class="filled" />
      </button>
      <button type="button" class="icon" {...named(t("remove"), "Del")} onClick={deeds.remove}>
        <Trash2 />
      </button>
    </div>
  );
}
