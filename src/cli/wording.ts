const thousand = 1000;

/** 70 MB, 1.7 GB: decimal, as disks are sold and as hubs count. */
export function bytesInWords(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [bytes, 0];
  for (; value >= thousand && unit < units.length - 1; unit++) value /= thousand;
  const digits = unit === 0 || value >= 10 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** 0.8 s, 12 s, 3 min 20 s, 2 h 5 min. */
export function durationInWords(ms: number): string {
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** 8.9 M, 2.6 G: numbers of weights. */
export function countInWords(count: number): string {
  const units = ["", " k", " M", " G"];
  let [value, unit] = [count, 0];
  for (; value >= thousand && unit < units.length - 1; unit++) value /= thousand;
  return `${unit > 0 ? value.toFixed(1) : value}${units[unit]}`;
}

/** a.png, b.png; of more than ten the first nine, and how many others there are. */
export function namesInWords(names: readonly string[]): string {
  if (names.length <= 10) return names.join(", ");
  return `${names.slice(0, 9).join(", ")} and ${names.length - 9} more`;
}

/** Rows under each other, columns two spaces apart. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
