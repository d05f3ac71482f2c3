/** The text that holds up to and including a step of the web UI (they count from 1; see `evaluationsOf`). */
export interface Stage {
  readonly upTo: number;
  readonly text: string;
}

type Node =
  | string
  | { readonly kind: "edit"; readonly before: Node[]; readonly after: Node[]; readonly when: string }
  | { readonly kind: "alternate"; readonly options: Node[][] };

/**
 * Prompt editing by the rules of the AUTOMATIC1111 web UI: `[from:to:when]`, `[to:when]`, `[from::when]` change the text
 * after step `when` (a number with a point is a fraction of all steps), `[a|b|c]` takes turns. Brackets that are none of
 * this stay in the text, for attention. What is written differently from there: a lone `|` outside brackets is
 * ordinary text instead of switching all editing off.
 */
export function editPrompt(prompt: string, steps: number, before = 0): Stage[] {
  return stagesOf(parseEditing(prompt), steps, before);
}

/** A prompt whose brackets are read, before it is known over how many steps it is edited. */
export type EditedPrompt = readonly Node[];

/**
 * The evaluations that stages hold for, from `from` up to, not including, `to` (from 0). The web UI counts evaluations
 * from 0 and takes the first stage whose last step is at least as large, so that `[a:b:4]` over 8 steps is a for five
 * evaluations and `[a|b]` is a, a, b, a, b, ...
 */
export function evaluationsOf(stages: readonly Stage[], steps: number): { from: number; to: number }[] {
  const end = (i: number) => (i === stages.length - 1 ? steps : Math.min(steps, stages[i]!.upTo + 1));
  return stages.map((_, i) => ({ from: i === 0 ? 0 : end(i - 1), to: end(i) }));
}

/**
 * What an edited prompt is, step after step.
 * @param before steps of the pass before, in the second pass of hires fix: fractions then count from 1, and whole
 * numbers go on from there
 */
export function stagesOf(nodes: EditedPrompt, steps: number, before = 0): Stage[] {
  const span: Span = { steps, before };
  const ends = new Set([steps]);
  const visit = (list: readonly Node[]): void => {
    for (const node of list) {
      if (typeof node === "string") continue;
      if (node.kind === "edit") {
        const end = stepOf(node.when, span);
        if (end >= 1) ends.add(end);
        visit(node.before);
        visit(node.after);
      } else {
        for (let step = 1; step <= steps; step++) ends.add(step);
        node.options.forEach(visit);
      }
    }
  };
  visit(nodes);
  const stages: Stage[] = [];
  for (const upTo of [...ends].sort((a, b) => a - b)) {
    const text = textAt(nodes, upTo, span);
    if (stages.at(-1)?.text === text) stages.pop();
    stages.push({ upTo, text });
  }
  return stages;
}

/** The steps of a pass, and of the pass before it. */
interface Span {
  readonly steps: number;
  readonly before: number;
}

const stepOf = (when: string, { steps, before }: Span): number => {
  const number = Number(when);
  const fraction = number - (before > 0 ? 1 : 0);
  return Math.min(steps, Math.trunc(when.includes(".") ? fraction * steps : number - before));
};

function textAt(nodes: readonly Node[], step: number, span: Span): string {
  return nodes
    .map((node) => {
      if (typeof node === "string") return node;
      if (node.kind === "alternate")
        return textAt(node.options[(step - 1) % node.options.length]!, step, span);
      return textAt(step <= stepOf(node.when, span) ? node.before : node.after, step, span);
    })
    .join("");
}

/** Groups that stand deeper are ordinary text. */
const MAX_DEPTH = 64;
const NUMBER = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*$/i;
const PLAIN = /(?:[^\\[\]():|]|\\.)+/sy;

/** One by one: as arguments of a call they may be too many. */
function append(nodes: Node[], more: readonly Node[]): void {
  for (const node of more) nodes.push(node);
}

interface Parsed {
  readonly nodes: Node[];
  readonly end: number;
}

export function parseEditing(prompt: string): EditedPrompt {
  const groups = new Map<number, Parsed | undefined>();

  /** Text and groups from `at` to the first character that belongs to neither; a bar is text if `bars` says so. */
  function sequence(start: number, bars: boolean, depth: number): Parsed {
    const nodes: Node[] = [];
    let at = start;
    for (;;) {
      PLAIN.lastIndex = at;
      const plain = PLAIN.exec(prompt)?.[0];
      const character = prompt[at];
      const group = character === "[" || character === "(" ? groupAt(at, depth) : undefined;
      if (plain) nodes.push(plain);
      else if (group) append(nodes, group.nodes);
      else if (bars && character === "|") nodes.push("|");
      else return { nodes, end: at };
      at = plain ? at + plain.length : (group?.end ?? at + 1);
    }
  }

  function groupAt(at: number, depth: number): Parsed | undefined {
    if (depth >= MAX_DEPTH) return undefined;
    if (!groups.has(at)) groups.set(at, prompt[at] === "[" ? square(at, depth + 1) : round(at, depth + 1));
    return groups.get(at);
  }

  /** The sequences between separators, if a closing bracket follows the last one. */
  function parts(at: number, separator: string, closing: string, depth: number) {
    const found = [sequence(at + 1, separator !== "|", depth)];
    while (prompt[found.at(-1)!.end] === separator)
      found.push(sequence(found.at(-1)!.end + 1, separator !== "|", depth));
    const { end } = found.at(-1)!;
    return prompt[end] === closing ? { found, end: end + 1 } : undefined;
  }

  function round(at: number, depth: number): Parsed | undefined {
    const inside = parts(at, ":", ")", depth);
    if (!inside || inside.found.length > 2) return undefined;
    const nodes = inside.found.flatMap((part, i) => [i === 0 ? "(" : ":", ...part.nodes]);
    return { nodes: [...nodes, ")"], end: inside.end };
  }

  function square(at: number, depth: number): Parsed | undefined {
    const turns = parts(at, "|", "]", depth);
    if (turns && turns.found.length > 1)
      return {
        nodes: [{ kind: "alternate", options: turns.found.map((part) => part.nodes) }],
        end: turns.end,
      };
    const edit = parts(at, ":", "]", depth);
    if (!edit || edit.found.length > 3) return undefined;
    const { found, end } = edit;
    if (found.length === 1) return { nodes: ["[", ...found[0]!.nodes, "]"], end };
    const [, when] = NUMBER.exec(prompt.slice(found.at(-2)!.end + 1, found.at(-1)!.end)) ?? [];
    if (when === undefined) return undefined;
    const [before, after] = found.length === 3 ? [found[0]!.nodes, found[1]!.nodes] : [[], found[0]!.nodes];
    return { nodes: [{ kind: "edit", before, after, when }], end };
  }

  const nodes: Node[] = [];
  for (let at = 0; at < prompt.length; ) {
    const { nodes: found, end } = sequence(at, true, 0);
    append(nodes, found);
    if (end < prompt.length) nodes.push(prompt[end]!); // a bracket or colon that belongs to no group
    at = end + 1;
  }
  return nodes;
}
