/** The jobs that wait, by id, the next one first. */
export interface WaitingLine {
  readonly length: number;
  ids(): Iterable<string>;
  has(id: string): boolean;
  /** How many stand before it; undefined for one that does not wait. */
  placeOf(id: string): number | undefined;
  /** The first that is accepted, of those that are admitted. */
  find(accepts: (id: string) => boolean): string | undefined;
  /** Behind all others. It has its place from now on, and is not found before it is admitted. */
  enter(id: string): void;
  /** What has entered is on disk. */
  admit(id: string): void;
  /** Before all others: one that waits already, or one that comes back. */
  putFirst(id: string): void;
  leave(id: string): void;
}

/** @param ids of those that wait already */
export function createWaitingLine(ids: Iterable<string>): WaitingLine {
  const line = [...ids];
  /** Whose first record is still on its way to the disk. */
  const entering = new Set<string>();
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
    find: (accepts) => line.find((id) => !entering.has(id) && accepts(id)),
    enter(id) {
      entering.add(id);
      line.push(id);
    },
    admit: (id) => void entering.delete(id),
    putFirst(id) {
      leave(id);
      line.unshift(id);
    },
    leave,
  };
}
