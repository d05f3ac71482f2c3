import type { Context } from "hono";
import { publicRefusalOf, Refusal } from "../../refusal.js";

/** OpenAI's errors name the parameter. */
export class ParameterRefusal extends Refusal {
  readonly param: string;
  constructor(
    param: string,
    message: string,
    { code = "invalid_value", ...options }: { code?: string; hint?: string } = {},
  ) {
    super(400, code, message, options);
    this.param = param;
  }
}

/** An error as OpenAI words it. */
export function envelope(error: unknown) {
  const refusal = publicRefusalOf(error);
  const { status, code, message, hint } = refusal;
  const type = status === 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
  return {
    error: {
      message: hint ? `${message}; ${hint}` : message,
      type,
      param: refusal instanceof ParameterRefusal ? refusal.param || null : null,
      code: code.toLowerCase(),
    },
  };
}

export function openaiError(error: unknown, c: Context): Response {
  const { status, headers } = publicRefusalOf(error);
  return c.json(envelope(error), status as 400, headers);
}
