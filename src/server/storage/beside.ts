import { access } from "node:fs/promises";

/** Of weights; what else stands behind a dot belongs to the name, as in the folder control_v1.1. */
const weights = /\.(safetensors|ckpt|pt|pth|bin)$/;

const endings = [".preview.png", ".png", ".jpg", ".jpeg", ".webp"];

/** The picture that lies beside a file of weights under its name, as the web UI looks for it. */
export async function pictureBeside(path: string): Promise<string | undefined> {
  const stem = path.replace(weights, "");
  for (const ending of endings) {
    const there = await access(stem + ending).then(
      () => true,
      () => false,
    );
    if (there) return stem + ending;
  }
  return undefined;
}
