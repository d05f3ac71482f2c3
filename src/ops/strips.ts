/** Rows in each of at most `most` strips: a divisor of all of them, so that the strips are alike. */
export function rowsPerStrip(rows: number, most: number): number {
  let strips = Math.min(rows, most);
  while (rows % strips !== 0) strips--;
  return rows / strips;
}

/** At most `most` rows in each strip: as many in all of them, so that they share their functions, or fewer in the last. */
export function rowsAtATime(rows: number, most: number): number {
  for (let each = most; each > most / 2; each--) if (rows % each === 0) return each;
  return Math.ceil(rows / Math.ceil(rows / most));
}
