import { createStore } from "./store.js";
import { type Tab, tabs } from "./tabs.js";

const fromAddress = (): Tab => {
  const name = location.hash.slice(1);
  return tabs.find((tab) => tab === name) ?? "text";
};

/** The tab that is open; it stands behind # in the address, so that reloading and going back work. */
export const openTab = createStore<Tab>(fromAddress());
/** What the page has to say above the tab, until another one is opened. */
export const note = createStore("");
let next = "";

function arrive(): void {
  openTab.set(fromAddress());
  note.set(next);
  next = "";
}
addEventListener("hashchange", arrive);

export function go(tab: Tab, saying = ""): void {
  next = saying;
  if (location.hash === `#${tab}`) arrive();
  else location.hash = tab;
}
