import type { OpenedControl } from "../generation/control.js";
import type { LoadOptions } from "../options/load.js";
import type { Model } from "../runtime/model.js";
import { readControlNet, readT2iAdapter } from "../runtime/networks/adapter-networks.js";
import { createControlNet } from "../runtime/networks/controlnet.js";
import type { NetworksOptions } from "../runtime/networks/network-runner.js";
import { createT2iAdapter } from "../runtime/networks/t2i-adapter.js";
import { createUpscaler, readUpscaler, type Upscaler } from "../runtime/networks/upscaler.js";
import type { Engine } from "../runtime/process/engine.js";
import { openComponent } from "../weights/model.js";
import { componentNotes } from "./config-notes.js";
import { locateUpscaler } from "./image-upscaler.js";
import { elsewhere, locateModel, variantOf } from "./model-source.js";

/** Opens the network of a name. */
type Open<Opened> = (name: string) => Promise<Opened>;

/** Opens ControlNets and T2I-Adapters beside a model. */
export function controlOpener(
  { source, unet }: Model,
  engine: Engine,
  networksOptions: NetworksOptions,
  options: LoadOptions,
): Open<OpenedControl> {
  const variant = variantOf(options);
  const { signal: _, ...hub } = elsewhere(options); // of loading, which is over
  return once(async (name) => {
    const path = await locateModel(name, { ...hub, ...variant });
    const component = openComponent(path, source, variant);
    const net =
      component.className === "T2IAdapter"
        ? createT2iAdapter(readT2iAdapter(component, unet), engine, networksOptions)
        : createControlNet(readControlNet(component, unet), engine, networksOptions);
    return { net, notes: componentNotes(component) };
  });
}

/** Opens networks that enlarge pictures. */
export const upscalerOpener = (
  engine: Engine,
  networksOptions: NetworksOptions,
  options: LoadOptions,
): Open<Upscaler> => {
  const { signal: _, ...hub } = elsewhere(options);
  return once(async (name) =>
    createUpscaler(readUpscaler(await locateUpscaler(name, hub)), engine, networksOptions),
  );
};

/** Opens each name once; one that could not be opened is tried anew the next time. */
function once<Opened>(open: Open<Opened>): Open<Opened> {
  const known = new Map<string, Promise<Opened>>();
  return (name) => {
    const opened = known.get(name) ?? open(name);
    known.set(name, opened);
    opened.catch(() => known.delete(name));
    return opened;
  };
}
