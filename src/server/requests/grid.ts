import sharp from "sharp";
import { z } from "zod";
import { encodePng } from "../../index.js";
import { namesWith } from "../../options/options.js";
import { Refusal } from "../refusal.js";

/** Anything may vary that leaves model and size as they are. */
const axis = z.strictObject({
  option: z.enum(namesWith("axis")),
  values: z
    .array(z.union([z.string(), z.number()]))
    .min(1)
    .max(256),
});

export const gridRequest = z
  .strictObject({ x: axis, y: axis.optional() })
  .describe("one picture for each pair of values, row by row; without a seed, all have the same");

type Grid = z.infer<typeof gridRequest>;

/** A request as far as its grid is concerned. */
interface Gridded {
  readonly grid?: Grid | undefined;
  readonly count: number;
}

/** One request for each cell, row by row; none without a grid. Their values are not checked yet. */
export function gridCells<Request extends Gridded>({ grid, ...request }: Request): Request[] {
  if (!grid) return [];
  const { x, y } = grid;
  const rows = y ? y.values.map((value) => ({ [y.option]: value })) : [{}];
  return rows.flatMap((row) =>
    x.values.map((value) => ({ ...request, count: 1, ...row, [x.option]: value }) as unknown as Request),
  );
}

/** @throws Refusal for a grid that contradicts itself or the rest of the request, or has more than `most` cells */
export function checkGrid({ grid, count }: Gridded, most: number): void {
  if (!grid) return;
  const cells = grid.x.values.length * (grid.y?.values.length ?? 1);
  if (cells > most)
    throw new Refusal(400, "TOO_LARGE", `${cells} pictures in one job are too many`, {
      hint: `at most ${most}`,
    });
  if (count !== 1)
    throw new Refusal(400, "BAD_OPTION", `grid and count: ${count} contradict each other`, {
      hint: "a grid has one picture for each cell; more of them are an axis of seeds",
    });
  if (grid.x.option === grid.y?.option)
    throw new Refusal(400, "BAD_OPTION", `grid: both axes vary ${grid.x.option}`);
}

/**
 * The pictures of a grid in one, side by side. @param pngs row by row, all of one size
 *
 * @throws Refusal when the whole has more than `maxPixels`
 */
export async function assembleGrid(
  pngs: readonly Uint8Array[],
  { grid }: Gridded,
  maxPixels: number,
): Promise<Uint8Array> {
  const columns = grid?.x.values.length ?? 1;
  const rows = pngs.length / columns;
  const { width, height } = await sharp(pngs[0]).metadata();
  const whole = { width: width * columns, height: height * rows };
  if (whole.width * whole.height > maxPixels)
    throw new Refusal(
      413,
      "TOO_LARGE",
      `${whole.width} x ${whole.height} are too many pixels for one picture`,
      {
        hint: "fetch the pictures one by one",
      },
    );
  const places = pngs.map((input, i) => ({
    input: Buffer.from(input),
    left: (i % columns) * width,
    top: Math.floor(i / columns) * height,
  }));
  const data = await sharp({ create: { ...whole, channels: 3, background: "black" } })
    .composite(places)
    .removeAlpha()
    .raw()
    .toBuffer();
  return encodePng({ ...whole, data: new Uint8Array(data) }, { parameters: legend(grid) });
}

/** Which values stand where, as people write them. */
const legend = (grid: Grid | undefined): string =>
  (["x", "y"] as const)
    .flatMap((name) => {
      const axis = grid?.[name];
      return axis ? [`${name === "x" ? "Columns" : "Rows"}: ${axis.option} ${axis.values.join(", ")}`] : [];
    })
    .join("\n");
