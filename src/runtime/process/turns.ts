/** Networks that are used together: those that read, those of the denoising loop, the autoencoder. */
export type Stage = "encode" | "denoise" | "decode";

/**
 * For networks that are used one after another: when the turn of one stage comes, what others loaded is unloaded, so
 * that memory holds one stage at a time.
 */
export interface Turns {
  /** What to do when the stage's turn is over. */
  onLeave(stage: Stage, unload: () => Promise<void>): void;
  enter(stage: Stage): Promise<void>;
  /** Ends all turns. */
  leave(): Promise<void>;
}

/** @param onEmpty called when a stage was left and nothing is loaded any more */
export function createTurns(onEmpty: () => void = () => {}): Turns {
  let current: Stage | undefined;
  const unloads: { readonly stage: Stage; readonly unload: () => Promise<void> }[] = [];
  const leave = async (except?: Stage) => {
    for (const { stage, unload } of unloads) if (stage !== except) await unload();
  };
  return {
    onLeave(stage, unload) {
      unloads.push({ stage, unload });
    },
    async enter(stage) {
      if (stage === current) return;
      const isFirst = current === undefined;
      current = stage;
      await leave(stage);
      if (!isFirst) onEmpty();
    },
    async leave() {
      current = undefined;
      await leave();
      onEmpty();
    },
  };
}

/** @param network as `Networks` label it: text_encoder.0, unet, controlnet, vae, taesd, … */
export function stageOf(network: string): Stage {
  if (/^(text|image)_encoder/.test(network)) return "encode";
  // A small decoder makes previews at every step.
  return network === "vae" ? "decode" : "denoise";
}
