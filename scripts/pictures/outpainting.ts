/**
 * Ten pictures, each carried on to the left and to the right, plainly and as `expand` does it, and how strongly the old
 * borders show in both: npx tsx scripts/pictures/outpainting.ts docs/outpainting.webp [steps]
 *
 * "Plainly" is what masks alone give: the picture on a larger canvas, and everything beside it repainted, edge to edge.
 */
import sharp, { type OverlayOptions } from "sharp";
import { encodePng, type Image, StableDiffusion } from "../../src/index.js";

const [file, given] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: outpainting.ts file.webp [steps]");
const steps = given === undefined ? {} : { steps: Number(given) };

const prompts = [
  ...["a lighthouse at sunset", "a cactus in the desert", "a castle in the snow", "a red car on the street"],
  ...["a pizza", "a sleeping cat", "a robot", "a frog", "a rocket", "a panda with a crown"],
];
const MARGIN = 64;

await using base = await StableDiffusion.load("emoji-diffusion-256");
await using inpainting = await StableDiffusion.load("emoji-diffusion-256-inpaint");

const triples: Image[][] = [];
for (const [i, prompt] of prompts.entries()) {
  const [picture] = (await base.generate({ prompt, seed: 100 + i, ...steps })).images;
  const asked = { prompt, seed: 7 + i, ...steps };
  const canvas = onCanvas(picture!);
  const plain = await inpainting.generate({
    ...{ ...asked, ...canvas, strength: 1, maskBlur: 0, maskedContent: "noise" },
    ...{ width: canvas.image.width, height: canvas.image.height },
  });
  const expand = { left: MARGIN, right: MARGIN };
  const carriedOn = await inpainting.generate({ ...asked, image: picture!, expand });
  triples.push([picture!, plain.images[0]!, carriedOn.images[0]!]);
  console.log(`${prompt}: ${[1, 2].map((which) => figureOf([triples.at(-1)![which]!])).join(" and ")}`);
}
const [plainly, carriedOn] = [1, 2].map((which) => figureOf(triples.map((triple) => triple[which]!)));
console.log(
  `gradients across the old borders against those beside: ${plainly} plainly, ${carriedOn} by expand`,
);
await drawSheet(file);

/** The picture in the middle of a canvas, and a mask of what is beside it. */
function onCanvas({ width, height, data }: Image): { image: Image; mask: Image } {
  const wide = width + 2 * MARGIN;
  const image = { width: wide, height, data: new Uint8Array(wide * height * 3).fill(128) };
  const mask = { width: wide, height, data: new Uint8Array(wide * height * 3).fill(255) };
  for (let y = 0; y < height; y++) {
    const at = (y * wide + MARGIN) * 3;
    image.data.set(data.subarray(y * width * 3, (y + 1) * width * 3), at);
    mask.data.fill(0, at, at + width * 3);
  }
  return { image, mask };
}

/**
 * How much steeper pictures are from one side of the old borders to the other than between columns 3 to 8 pixels away on
 * both sides: 1 where no border shows.
 */
function figureOf(pictures: readonly Image[]): string {
  let [across, beside] = [0, 0];
  for (const picture of pictures)
    for (const border of [MARGIN, picture.width - MARGIN]) {
      across += slopeAt(picture, border);
      for (let away = 3; away <= 8; away++)
        beside += (slopeAt(picture, border - away) + slopeAt(picture, border + away)) / 12;
    }
  return (across / beside).toFixed(2);
}

/** The mean difference of levels between a column and the one to its left. */
function slopeAt({ width, height, data }: Image, column: number): number {
  let sum = 0;
  for (let y = 0; y < height; y++)
    for (let c = 0; c < 3; c++) {
      const at = (y * width + column) * 3 + c;
      sum += Math.abs(data[at]! - data[at - 3]!);
    }
  return sum / (3 * height);
}

/** Two columns of five triples: the picture, plainly, by `expand`. */
async function drawSheet(file: string): Promise<void> {
  const [side, gap] = [120, 6];
  const wide = Math.round((side * (256 + 2 * MARGIN)) / 256);
  const whole = side + 2 * wide + 2 * gap;
  const cells: OverlayOptions[] = [];
  for (const [i, triple] of triples.entries())
    for (const [column, picture] of triple.entries()) {
      const left =
        (i % 2) * (whole + 4 * gap) + (column === 0 ? 0 : side + gap + (column - 1) * (wide + gap));
      const input = await sharp(encodePng(picture))
        .resize(column === 0 ? side : wide, side)
        .toBuffer();
      cells.push({ input, left, top: Math.floor(i / 2) * (side + gap) });
    }
  const rows = triples.length / 2;
  const size = { width: 2 * whole + 4 * gap, height: rows * side + (rows - 1) * gap };
  await sharp({ create: { ...size, channels: 3, background: "white" } })
    .composite(cells)
    .webp({ quality: 85, effort: 6 })
    .toFile(file);
}
