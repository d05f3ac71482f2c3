import { attentions } from "./forms-attention.js";
import {
  convolutions,
  decoderConvolutions,
  products,
  upsampling,
  upsamplingConvolutions,
  winograd,
} from "./forms-convolution.js";
import { gatedLinears, groupNorms } from "./forms-pointwise.js";
import { tokenMerging } from "./forms-token-merging.js";
import { type Placing, type Race, runRace } from "./race.js";

/** What is raced, by name; each name's races are made only when asked for. */
export const nodeRaces: Readonly<Record<string, () => Race[]>> = {
  "group-norm": groupNorms,
  convolution: convolutions,
  product: products,
  attention: attentions,
  winograd,
  upsample: upsampling,
  "upsample-convolution": upsamplingConvolutions,
  decoder: decoderConvolutions,
  geglu: gatedLinears,
  "token-merging": tokenMerging,
};

/**
 * Races ways to write the same computation as TensorFlow nodes, in this process, with the threads that
 * TF_NUM_INTRAOP_THREADS says. With one thread the CPU time is comparable on a busy machine, too.
 */
export function benchNodes(names: readonly string[], { rounds }: { rounds: number }): Placing[] {
  const chosen = names.length > 0 ? names : Object.keys(nodeRaces);
  return chosen.flatMap((name) => {
    const make = nodeRaces[name];
    if (!make) throw new Error(`no races named ${name}; there are ${Object.keys(nodeRaces).join(", ")}`);
    return make().flatMap((race) => runRace(race, rounds));
  });
}
