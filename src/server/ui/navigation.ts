import { createStore } from "./store.js";

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

const fromAddress = (): Tab => {
  const name = location.hash.slice(1);
  return tabs.find((tab) => tab === name) ?? "text";
};

/** The tab that is open; it stands behind # in the address, so that reloading and going back work. */
export const openTab = createStore<Tab>(fromAddress());
addEventListener("hashchange", () => openTab.set(fromAddress()));

export function go(tab: Tab): void {
  location.hash = tab;
}
