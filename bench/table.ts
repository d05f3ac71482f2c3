/** A table as it is printed and as it goes into a README: Markdown, columns aligned for the eye. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Said below the table. */
  readonly notes?: readonly string[];
}

export function markdown({ title, columns, rows, notes = [] }: Table): string {
  const widths = columns.map((name, i) => Math.max(3, name.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [
    `#### ${title}`,
    "",
    line(columns),
    rule,
    ...rows.map(line),
    ...notes.flatMap((note) => ["", note]),
    "",
  ].join("\n");
}

export const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)}`;
/** Milliseconds, with decimals where they say something. */
export const ms = (value: number): string =>
  Number.isNaN(value)
    ? "-"
    : value < 10
      ? value.toFixed(2)
      : value < 100
        ? value.toFixed(1)
        : value.toFixed(0);
export const seconds = (value: number): string => (value / 1000).toFixed(2);
export const ratio = (value: number): string => `${value.toFixed(2)}x`;
