import type { Claim, JobImage, JobProgress } from "../queue/queue.js";

/**
 * What a job tells while it runs, gathered: whoever looks on sees each picture as it is finished.
 *
 * @param runs whether it still does: what comes from work that was given up is left out
 */
export function toldBy(
  claim: Pick<Claim, "heartbeat">,
  runs: () => boolean,
): {
  readonly images: JobImage[];
  progress(progress: JobProgress): void;
  finished(image: JobImage): void;
} {
  const images: JobImage[] = [];
  let latest: JobProgress | undefined;
  const tell = () => {
    if (latest && runs())
      void claim.heartbeat(images.length > 0 ? { ...latest, finished: [...images] } : latest);
  };
  return {
    images,
    progress(progress) {
      latest = progress;
      tell();
    },
    finished(image) {
      if (!runs()) return;
      images.push(image);
      tell();
    },
  };
}
