/** Rows in each of at most `most` strips: a divisor of all of them, so that the strips are alike. */
export function rowsPerStrip(rows: number, most: number): number {
  let strips = Math.min(rows, most);
  while (rows % strips !== 0) strips--;
  return rows / strips;
}
