/** A learned word where the model finds it: in any case, and not inside of another word. */
function pattern(word: string, around = ""): RegExp {
  const literal = word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  const before = /^[\p{L}\p{N}]/u.test(word) ? "(?<![\\p{L}\\p{N}])" : "";
  const after = /[\p{L}\p{N}]$/u.test(word) ? "(?![\\p{L}\\p{N}])" : "";
  return new RegExp(around + before + literal + after, "iu");
}

export const saysWord = (text: string, word: string): boolean => pattern(word).test(text);

/** The text with the word behind it, or without it and the comma in front of it. */
export function toggledWord(text: string, word: string): string {
  if (saysWord(text, word)) return text.replace(pattern(word, "(,?\\s+)?"), "").replace(/^,?\s+/, "");
  const before = text.trim().replace(/,$/, "");
  return before === "" ? word : `${before}, ${word}`;
}
