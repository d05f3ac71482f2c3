/** The jobs that wait, by id, the next one first. */
export interface WaitingLine {
  readonly length: number;
  ids(): Iterable<string>;
  has(id: string): boolean;
  /** How many stand before it; undefined for one that does not wait. */
  placeOf(id: string): number | undefined;
  /** The first that is accepted. */
  find(accepts: (id: string) => boolean): string | undefined;
  /** Behind all others. */
  putLast(id: string): void;
  /** Before all others: one that waits already, or one that comes back. */
  putFirst(id: string): void;
  leave(id: string): void;
}

/** @param ids of those that wait already */
export function createWaitingLine(ids: Iterable<string>): WaitingLine {
  const line = [...ids];
  const leave = (id: string) => {
    const at = line.indexOf(id);
    if (at >= 0) line.splice(at, 1);
  };
  return {
    get length() {
      return line.length;
    },
    ids: () => line,
    has: (id) => line.includes(id),
    placeOf(id) {
      const at = line.indexOf(id);
      return at < 0 ? undefined : at;
    },
    find: (accepts) => line.find(accepts),
    putLast: (id) => void line.push(id),
    putFirst(id) {
      leave(id);
      line.unshift(id);
    },
    leave,
  };
}
