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

/** What the page has to say above the tab, until another one is opened. */
export const note = createStore("");

export function go(tab: Tab, saying = ""): void {
  location.hash = tab;
  note.set(saying);
}
