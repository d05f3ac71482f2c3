/**
 * Whether a regular expression out of a file takes no more than linear time on any text: alternatives of single
 * characters and classes, of which only the last of each may be repeated. That is the form of what splits words for
 * CLIP: `'s|'re|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`. Groups, looks around and references to what was found before are
 * what makes others take for ever.
 */
export function isSafePattern(pattern: string): boolean {
  let at = 0;
  const escaped = (): boolean => {
    const kind = pattern[++at];
    if (kind === undefined || /[1-9kbB]/.test(kind)) return false;
    at++;
    if (!/[pPu]/.test(kind) || pattern[at] !== "{") return true;
    const end = pattern.indexOf("}", at);
    if (end < 0 || end - at > 40) return false;
    at = end + 1;
    return true;
  };
  const characterClass = (): boolean => {
    for (at++; at < pattern.length && pattern[at] !== "]"; )
      if (pattern[at] !== "\\") at++;
      else if (!escaped()) return false;
    return pattern[at++] === "]";
  };
  const atom = (): boolean => {
    const first = pattern[at]!;
    if (first === "\\") return escaped();
    if (first === "[") return characterClass();
    at++;
    return !"(){}^$*+?]".includes(first);
  };
  if (pattern.length > 1000) return false;
  while (at < pattern.length) {
    if (pattern[at] === "|") {
      at++;
      continue;
    }
    if (!atom()) return false;
    if (pattern[at] === "?") at++;
    else if (pattern[at] === "+" || pattern[at] === "*") {
      at++;
      if (at < pattern.length && pattern[at] !== "|") return false;
    }
  }
  return true;
}
