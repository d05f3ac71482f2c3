/** Weights and editing of the web UI, as people write them: `(a fox:1.3)`, `[grass:snow:0.5]`. */
const marks = /\([^()]*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|\[[^[\]]*:\s*(?:\d+\.?\d*|\.\d+)\s*\]/;

/**
 * What in a prompt looks like a weight or editing of the web UI, for prompts that are read as they stand; undefined where
 * nothing does.
 */
export const unreadSyntax = (prompt: string): string | undefined => marks.exec(prompt)?.[0];
