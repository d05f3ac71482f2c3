import type { z } from "zod";
import { firstProblem } from "../../../expectations.js";
import { Refusal } from "../../refusal.js";
import type { SettingsData, WebuiSettings } from "../../storage/settings.js";
import { type GivenTxt2img, optionsBody } from "./sdapi-schema.js";
import { fixedSettings, refuseSettings } from "./sdapi-settings.js";

/** @throws Refusal for settings of a wrong kind, and for those that would change the picture and cannot be had */
export function overrideOf({
  override_settings,
}: Pick<GivenTxt2img, "override_settings">): z.infer<typeof optionsBody> {
  const given = override_settings ?? {};
  const result = optionsBody.safeParse(given);
  refuseSettings(given, "override_settings.");
  if (result.success) return result.data;
  const { path, message } = firstProblem(result.error, given);
  throw new Refusal(422, "BAD_OPTION", `override_settings.${path}: ${message}`);
}

/** What a request goes by: its own settings, and where it has none those that were set before. */
export function settingsFor(
  request: Pick<GivenTxt2img, "override_settings">,
  { webui }: Pick<SettingsData, "webui">,
): WebuiSettings {
  const own = Object.entries(overrideOf(request)).filter(([, value]) => value !== null);
  return { ...webui, ...Object.fromEntries(own) };
}

/** Settings of a request that mean nothing here, for a word about them. */
export const unknownSettings = ({ override_settings }: Pick<GivenTxt2img, "override_settings">): string[] =>
  Object.keys(override_settings ?? {}).filter(
    (name) => !(name in optionsBody.shape) && !Object.hasOwn(fixedSettings, name),
  );
