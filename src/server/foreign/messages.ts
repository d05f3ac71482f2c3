import { Refusal } from "../refusal.js";

/** What the server asks the process that decodes. */
export interface Question {
  readonly id: number;
  readonly name: string;
  readonly given: object;
}

export type Answer = { readonly id: number } & (
  | { readonly result: unknown; readonly pixels: number }
  | {
      readonly error: {
        readonly status: number;
        readonly code: string;
        readonly message: string;
        readonly hint?: string;
      };
    }
);

/** Of the pictures of a request together; either side may find it out. */
export const tooManyPixels = (): Refusal =>
  new Refusal(400, "TOO_LARGE", "the pictures of this request have too many pixels together", {
    hint: "send fewer, or smaller ones",
  });
