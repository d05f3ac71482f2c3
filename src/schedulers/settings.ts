import { DiffusionError } from "../errors.js";
import { type ClassDefaults, neutral } from "./class-defaults.js";
import { checks, type SchedulerConfig, type Settings, unreadKeys } from "./config.js";

/**
 * `Class.from_config(config)`: the class's defaults, overlaid with the keys of the config that the class knows.
 * @throws {DiffusionError} BAD_OPTION for a value that the key cannot have or flags that contradict each other,
 * UNSUPPORTED for flow matching.
 */
export function settings(defaults: ClassDefaults, config: SchedulerConfig): Settings {
  if (config.use_flow_sigmas === true || config.prediction_type === "flow_prediction")
    throw new DiffusionError("UNSUPPORTED", "scheduler config: flow matching is not supported", {
      hint: "this library runs Stable Diffusion 1, 2 and XL; use a config with epsilon or v_prediction",
    });
  const acting = unreadKeys[String(config._class_name)];
  if (acting !== undefined && config[acting] !== undefined && config[acting] !== null)
    throw new DiffusionError("UNSUPPORTED", `scheduler config: ${acting} is not supported`, {
      hint: "it changes pictures of this class; take it out of the config to do without",
    });
  const own = (Object.keys(defaults) as (keyof Settings)[]).map((key) => [
    key,
    checks[key](key, config[key] ?? defaults[key]),
  ]);
  const result = { ...neutral, ...Object.fromEntries(own) } as Settings;
  const chosen = (
    ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"] as const
  ).filter((key) => result[key]);
  if (chosen.length > 1 || (chosen.length === 1 && result.schedule))
    throw new DiffusionError(
      "BAD_OPTION",
      `scheduler config: ${[...chosen, ...(result.schedule ? ["schedule"] : [])].join(" and ")} contradict each other`,
      { hint: "choose one schedule of sigmas" },
    );
  return result;
}
