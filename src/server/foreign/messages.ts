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
