import type { z } from "zod";
import { firstProblem } from "../../../expectations.js";
import { Refusal } from "../../refusal.js";
import { type GivenTxt2img, optionsBody } from "./sdapi-schema.js";

/** @throws Refusal for settings of a wrong kind */
export function overrideOf({
  override_settings,
}: Pick<GivenTxt2img, "override_settings">): z.infer<typeof optionsBody> {
  const given = override_settings ?? {};
  const result = optionsBody.safeParse(given);
  if (result.success) return result.data;
  const { path, message } = firstProblem(result.error, given);
  throw new Refusal(422, "BAD_OPTION", `override_settings.${path}: ${message}`);
}
