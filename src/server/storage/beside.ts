import { access } from "node:fs/promises";

const endings = [".preview.png", ".png", ".jpg", ".jpeg", ".webp"];

/** The picture that lies beside a file of weights under its name, as the web UI looks for it. */
export async function pictureBeside(path: string): Promise<string | undefined> {
  const stem = path.replace(/\.[^./\\]+$/, "");
  for (const ending of endings) {
    const there = await access(stem + ending).then(
      () => true,
      () => false,
    );
    if (there) return stem + ending;
  }
  return undefined;
}
