/** The largest that the server takes. */
const largest = 2n ** 64n - 1n;

/** -1 stands for a new one each time, as everywhere; so does nothing. */
export const isDrawn = (seed: string): boolean => /^\s*(-1)?\s*$/.test(seed);

/** Whether a text is a seed: digits up to 64 bits, or words, which are turned into a number. What is nearly a number is none. */
export function isSeed(text: string): boolean {
  const seed = text.trim();
  if (isDrawn(seed)) return true;
  if (/^\d+$/.test(seed)) return BigInt(seed) <= largest;
  return seed.length <= 200 && !/^[-+.,]?\s*\d/.test(seed);
}

/** As the server takes it; undefined where it is to draw one. */
export const seedOf = (text: string): string | undefined => (isDrawn(text) ? undefined : text.trim());
