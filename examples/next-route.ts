/**
 * A Next route handler, as app/api/picture/route.ts: POST { "prompt": "a dog" } answers with a PNG. next.config needs
 * serverExternalPackages: ["tfjs-diffusion"], as docs/installing.md says.
 */
import { DiffusionError, encodePng, generate } from "tfjs-diffusion";

export const runtime = "nodejs";

export async function POST(request: Request): Promise<Response> {
  try {
    // What strangers may choose, and nothing that names files.
    const { prompt, seed, steps } = (await request.json()) as Record<string, never>;
    const chosen = Object.entries({ prompt, seed, steps }).filter(([, value]) => value !== undefined);
    // The model stays loaded between requests; a request that is given up stops between two steps.
    const { images, seeds } = await generate({ ...Object.fromEntries(chosen), signal: request.signal });
    const headers = { "content-type": "image/png", "x-seed": String(seeds[0]) };
    return new Response(Buffer.from(encodePng(images[0]!)), { headers });
  } catch (error) {
    if (!(error instanceof DiffusionError) || error.code !== "BAD_OPTION") throw error;
    return Response.json({ error: error.message, hint: error.hint }, { status: 400 });
  }
}
