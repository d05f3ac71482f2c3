export const tabs = [
  "text",
  "image",
  "inpaint",
  "outpaint",
  "upscale",
  "unconditional",
  "optimize",
  "models",
  "history",
] as const;
export type Tab = (typeof tabs)[number];
