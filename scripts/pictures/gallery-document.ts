/** A picture of the gallery: the command that makes it, without what comes before its words and without `--out`. */
export interface Entry {
  /** Name of the file, without ending; later commands can start from it as `<name>.png`. */
  readonly name: string;
  readonly command: string;
  readonly about: string;
}

/** The gallery, in the order in which it is made. */
export const sections: readonly {
  readonly title: string;
  readonly about: string;
  readonly entries: readonly Entry[];
}[] = [
  {
    title: "From words",
    about:
      "Scheduler, steps and guidance are the model's own ([what those are, and how they were chosen](models.md#how-the-included-models-defaults-were-chosen)).",
    entries: [
      { name: "dog", command: '"a dog with glasses" --seed 7', about: "the first picture" },
      { name: "robot", command: '"a robot" --seed 7', about: "one thing" },
      { name: "panda", command: '"a panda with a crown" --seed 7', about: "a thing that wears another" },
      { name: "frog", command: '"a frog" --seed 7', about: "an animal" },
      { name: "car", command: '"a red car" --seed 7', about: "a colour" },
      { name: "cactus", command: '"a cactus in the desert" --seed 7', about: "a thing in its place" },
      {
        name: "strawberry",
        command: '"a flat illustration of a strawberry" --seed 7',
        about: "a style: flat illustrations have the clearest shapes",
      },
      { name: "pizza", command: '"a flat illustration of a pizza" --seed 7', about: "the same style" },
      { name: "whale", command: '"a flat illustration of a whale" --seed 7', about: "the same style" },
    ],
  },
  {
    title: "From pictures",
    about: "`dog.png` is the picture above.",
    entries: [
      {
        name: "cat",
        command: '"a cat with glasses" --image dog.png --strength 0.7 --seed 21',
        about: "image to image",
      },
      {
        name: "top-hat",
        command: '"a dog with a top hat" --image dog.png --mask-area 0,0,256,115 --seed 7',
        about: "inpainting: a rectangle is painted anew",
      },
      {
        name: "desert",
        command: '"a cactus in the desert" --image cactus.png --expand left=96,right=96 --seed 7',
        about: "outpainting: the picture goes on",
      },
    ],
  },
  {
    title: "Without words",
    about: "Another model that comes along.",
    entries: [
      { name: "butterfly", command: "unconditional --seed 9", about: "64x64, from noise alone" },
      { name: "other-butterfly", command: "unconditional --seed 10", about: "another seed" },
    ],
  },
];

/** docs/gallery.md */
export function galleryDocument(): string {
  const parts = sections.map(({ title, about, entries }) => {
    const rows = entries.map(
      ({ name, command, about }) =>
        `| ![${about}](gallery/${name}.webp) | \`npx tfjs-diffusion ${command} --out ${name}.png\`<br>${about} |`,
    );
    return `## ${title}\n\n${about}\n\n| | |\n| --- | --- |\n${rows.join("\n")}\n`;
  });
  return `# Gallery\n\nEvery picture beside the command that made it. \`npx tsx scripts/pictures/gallery.ts\` makes all of them again, with the models that come along; CI does so with fewer steps. In a clone, write \`npm start --\` in place of \`npx tfjs-diffusion\`.\n\n${parts.join("\n")}`;
}
