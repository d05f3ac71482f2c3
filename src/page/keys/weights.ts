/** A text with a part of it selected. */
export interface Selected {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const STEP = 0.1;
/** Beyond these pictures fall apart. */
const LEAST = 0.1;
const MOST = 2;

/**
 * More or less weight for what is selected, or for the word at the caret: `a dog` becomes `a (dog:1.1)`; at weight 1
 * the parentheses go.
 */
export function weighted(selected: Selected, direction: 1 | -1): Selected {
  const { text, start, end } = wordsOf(selected);
  if (start === end) return selected;
  const around = groupAround(text, start, end);
  const inner = around ? text.slice(around.open + 1, around.colon) : text.slice(start, end);
  const from = around?.open ?? start;
  const to = around ? around.close + 1 : end;
  const weight = Math.min(MOST, Math.max(LEAST, (around?.weight ?? 1) + direction * STEP));
  const rounded = Math.round(weight * 100) / 100;
  const group = rounded === 1 ? inner : `(${inner}:${rounded})`;
  const shift = rounded === 1 ? 0 : 1;
  return {
    text: text.slice(0, from) + group + text.slice(to),
    start: from + shift,
    end: from + shift + inner.length,
  };
}

/** The selection without spaces at its ends, or the word that the caret stands in. */
function wordsOf({ text, start, end }: Selected): Selected {
  if (start === end) {
    const before = /[^\s,.;:()[\]{}<>|]*$/u.exec(text.slice(0, start))![0].length;
    const after = /^[^\s,.;:()[\]{}<>|]*/u.exec(text.slice(end))![0].length;
    return { text, start: start - before, end: end + after };
  }
  const part = text.slice(start, end);
  return {
    text,
    start: start + part.length - part.trimStart().length,
    end: end - (part.length - part.trimEnd().length),
  };
}

/** The `(…:1.2)` whose words are just these, with or without its parentheses. */
function groupAround(text: string, start: number, end: number) {
  for (const group of text.matchAll(/\(([^()]*):(\d*\.?\d+)\)/g)) {
    const open = group.index;
    const close = open + group[0].length - 1;
    const colon = open + 1 + group[1]!.length;
    const inside = start >= open && end <= close + 1;
    if (inside) return { open, colon, close, weight: Number(group[2]) };
  }
  return undefined;
}
