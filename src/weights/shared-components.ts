import { statSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject, quoted } from "../disk/json.js";
import { DiffusionError } from "../errors.js";

/** `../<model>/<component>`: a component of a model beside this one, and no other place. */
const siblingPath = /^\.\.\/(?!\.{1,2}\/)[\w.-]+\/(?!\.{1,2}$)[\w.-]+$/;

/**
 * Where the components of a diffusers folder lie: in folders of their names, but for those that the folder shares with a
 * model beside it. Its model_index.json says so under a key that diffusers passes over, as all that begin with "_":
 *
 *     "_shared": { "vae": "../emoji-diffusion-256/vae" }
 *
 * @param settings the content of model_index.json
 * @throws DiffusionError FILE_FORMAT for other paths and for a component that is also in the folder itself,
 * FILE_MISSING for a sibling that is not there
 */
export function componentFolders(folder: string, settings: JsonObject): (role: string) => string {
  const index = join(folder, "model_index.json");
  const { _shared: shared } = settings;
  if (shared !== undefined && !isJsonObject(shared))
    throw new DiffusionError("FILE_FORMAT", `${index}: expected _shared to be an object of paths`);
  const places = new Map<string, string>();
  for (const [role, path] of Object.entries(shared ?? {})) {
    if (typeof path !== "string" || !siblingPath.test(path))
      throw new DiffusionError(
        "FILE_FORMAT",
        `${index}: _shared ${quoted(role)} must be a path such as ../model/vae, got ${quoted(String(path))}`,
      );
    if (isFolder(join(folder, role)))
      throw new DiffusionError("FILE_FORMAT", `${index} shares ${path}, but ${folder} has a ${role} too`, {
        hint: `Remove the folder ${role}, or the line in _shared.`,
      });
    const place = join(folder, path);
    if (!isFolder(place))
      throw new DiffusionError(
        "FILE_MISSING",
        `${folder} shares its ${role} with ${place}, which is not there`,
        {
          hint: `Put the model ${path.split("/")[1]} beside it.`,
        },
      );
    places.set(role, place);
  }
  return (role) => places.get(role) ?? join(folder, role);
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
