/** What has a shape: tensors of every kind, and the numbers that they are made of. */
export interface Shaped {
  readonly shape: readonly number[];
}

/**
 * What goes into a network and what comes out of it, by name: one of each, or a list, or a list of groups with names
 * of their own. No group has a field called `shape`, by which a tensor is known.
 */
export type Fields<T> = {
  readonly [name: string]: T | readonly T[] | readonly Fields<T>[] | undefined;
};

/** The same fields with something else in them: plain numbers where a network has tensors. */
export type Filled<F, T> = F extends Shaped
  ? T
  : F extends undefined
    ? undefined
    : { readonly [Name in keyof F]: Filled<F[Name], T> };

/** All that is in the fields, in their order, each with its path: `sample`, `residuals.3`, `pictures.0.tokens`. */
export function listFields<T extends Shaped>(fields: Fields<T>): [path: string, value: T][] {
  const list: [string, T][] = [];
  mapFields(fields, (value: T, path) => list.push([path, value]));
  return list;
}

/** Fields of the same form; those that are not there are left out. */
export function mapFields<T extends Shaped, F extends Fields<T>, U>(
  fields: F & Fields<T>,
  change: (value: T, path: string) => U,
): Filled<F, U> {
  const filled = (value: unknown, path: string): unknown => {
    if (Array.isArray(value)) return value.map((one, i) => filled(one, `${path}.${i}`));
    return isShaped(value) ? change(value as T, path) : group(value as object, `${path}.`);
  };
  const group = (values: object, prefix: string) =>
    Object.fromEntries(
      Object.entries(values)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [name, filled(value, prefix + name)]),
    );
  return group(fields, "") as Filled<F, U>;
}

const isShaped = (value: unknown): value is Shaped => "shape" in (value as object);
