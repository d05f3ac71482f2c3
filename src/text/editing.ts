/** The text that holds up to and including a step (steps count from 1). */
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
export function editPrompt(prompt: string, steps: number): Stage[] {
  return stagesOf(parseEditing(prompt), steps);
}

/** A prompt whose brackets are read, before it is known over how many steps it is edited. */
export type EditedPrompt = readonly Node[];

/** What an edited prompt is, step after step. */
export function stagesOf(nodes: EditedPrompt, steps: number): Stage[] {
  const ends = new Set([steps]);
  const visit = (list: readonly Node[]): void => {
    for (const node of list) {
      if (typeof node === "string") continue;
      if (node.kind === "edit") {
        const end = stepOf(node.when, steps);
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
    const text = textAt(nodes, upTo, steps);
    if (stages.at(-1)?.text === text) stages.pop();
    stages.push({ upTo, text });
  }
  return stages;
}

const stepOf = (when: string, steps: number): number => {
  const number = Number(when);
  return Math.min(steps, Math.trunc(when.includes(".") ? number * steps : number));
};

function textAt(nodes: readonly Node[], step: number, steps: number): string {
  return nodes
    .map((node) => {
      if (typeof node === "string") return node;
      if (node.kind === "alternate")
        return textAt(node.options[(step - 1) % node.options.length]!, step, steps);
      return textAt(step <= stepOf(node.when, steps) ? node.before : node.after, step, steps);
    })
    .join("");
}

/** Groups that stand deeper are ordinary text. */
const MAX_DEPTH = 64;
const NUMBER = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*$/i;
const PLAIN = /(?:[^\\[\]():|]|\\.)+/sy;

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
      else if (group) nodes.push(...group.nodes);
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
    nodes.push(...found);
    if (end < prompt.length) nodes.push(prompt[end]!); // a bracket or colon that belongs to no group
    at = end + 1;
  }
  return nodes;
}
