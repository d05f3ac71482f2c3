/** Any two options against each other: npx tsx examples/grid.ts grid.png '{"prompt":"a dog"}' guidance 2,5,9 seed 1,2 */
import { writeFileSync } from "node:fs";
import { encodePng, generate, type Image } from "tfjs-diffusion";

const [file, options, x, xs, y, ys] = process.argv.slice(2);
if (!ys) throw new Error("usage: grid.ts file options x values y values");
const values = (list = "") => list.split(",").map((v) => (Number.isNaN(Number(v)) ? v : Number(v)));

const cells: Image[] = [];
for (const row of values(ys))
  for (const column of values(xs))
    cells.push((await generate({ ...JSON.parse(options!), [x!]: column, [y!]: row })).images[0]!);

// Line by line: a row of the grid has as many cells as there are values of x.
const [columns, { width, height }] = [values(xs).length, cells[0]!];
const data = new Uint8Array(cells.length * width * height * 3);
for (const [i, cell] of cells.entries())
  for (let line = 0; line < height; line++) {
    const to = (Math.floor(i / columns) * height + line) * columns + (i % columns);
    data.set(cell.data.subarray(line * width * 3, (line + 1) * width * 3), to * width * 3);
  }
writeFileSync(file!, encodePng({ width: columns * width, height: (cells.length / columns) * height, data }));
