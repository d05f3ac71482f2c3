import { z } from "zod";

/**
 * All that is said of one option, in one place: checks, defaults, refusals, the command line's flags, the server's
 * requests and grids, and the text in a picture follow from it. `Value` is what the option holds.
 */
export interface Described<Value = unknown> {
  readonly schema: z.ZodType;
  /** In one line, for the command line's help and for requests (OpenAPI). */
  readonly about?: string;

  /** Decides about the picture as it is given, and stands in `ResolvedOptions` under its own name. */
  readonly kept?: true;
  /** What is kept where it is not given. */
  readonly fallback?: Value;

  /** It cannot be without one of these. */
  readonly needs?: readonly string[];
  /** The only models that it means something to: those that read text, with two text encoders, told of sizes, ... */
  readonly only?: "text" | "sdxl" | "sized" | "refiner" | "instruct" | "upscale";
  /** Models that it means nothing to. */
  readonly not?: readonly ("unconditional" | "instruct" | "upscale")[];

  /** A model may bring a default of its own, in its generation_defaults.json. */
  readonly ofModel?: true;

  /** A flag of the command line under its own name; what its value is called there, "" for one without a value. */
  readonly flag?: string;
  /** Harmless in a request of a stranger, whatever its value: the server takes it as it is. */
  readonly served?: true;
  /** An axis of a grid can vary it. */
  readonly axis?: true;
  /** Its name in the text of a picture, which has it unless it is the fallback. */
  readonly label?: string;
  /** Its value there; default: as it is. */
  inText?(value: Value): string | number;
}

/** A description of every option of some. */
export type Descriptions<Options> = {
  readonly [Name in keyof Options]-?: Described<NonNullable<Options[Name]>>;
};

/** The schema of some options, none of which need be given, and no others. */
export const schemaOf = (all: Readonly<Record<string, Described>>) =>
  z.strictObject(
    Object.fromEntries(Object.entries(all).map(([name, { schema }]) => [name, schema.optional()])),
  );
