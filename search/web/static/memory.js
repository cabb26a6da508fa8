// What this browser remembers: the latest searches, and trays of examples by name.

import { $, el, name } from "./dom.js";

const MOST_SEARCHES = 50;
const MOST_TRAYS = 30;
const LONGEST = 4000; // characters of an address; searches by many examples are not kept

const panel = $("memory", HTMLDetailsElement);
let onOpen = /** @type {(tray: Tray) => void} */ (() => {});

/** Return the list that was kept. @param {string} key @returns {any[]} */
export function recall(key) {
  try {
    const kept = JSON.parse(localStorage.getItem(`geosim-${key}`) ?? "");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return []; // nothing, or forbidden
  }
}

/** Keep a value; return whether that worked. @param {string} key @param {unknown} value */
export function keep(key, value) {
  try {
    localStorage.setItem(`geosim-${key}`, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the page works without
  }
}

const searches = () => /** @type {Search[]} */ (recall("searches"));
const trays = () => /** @type {[string, Tray][]} */ (recall("trays"));

/** Remember a search. @param {string} url @param {string} title */
export function rememberSearch(url, title) {
  if (url.length > LONGEST) return;
  const others = searches().filter((one) => one.url !== url);
  keep("searches", [{ url, title, at: Date.now() }, ...others].slice(0, MOST_SEARCHES));
  draw();
}

/** Keep a tray under a name; return whether that worked. @param {string} title @param {Tray} tray */
export function keepTray(title, tray) {
  const others = trays().filter(([one]) => one !== title);
  const kept = keep("trays", [[title, tray], ...others].slice(0, MOST_TRAYS));
  draw();
  return kept;
}

/** Set what opens a tray. @param {typeof onOpen} callback */
export const setOnOpenTray = (callback) => { onOpen = callback; };

function draw() {
  const [found, kept] = [searches(), trays()];
  panel.hidden = found.length === 0 && kept.length === 0;
  /** @type {(label: string, onclick: () => void, said?: string) => HTMLElement} */
  const button = (label, onclick, said = label) =>
    el("button", { "aria-label": said, onclick }, label);
  const heading = (/** @type {string} */ text) => el("h2", {}, text);
  $("memory-list").replaceChildren(
    ...kept.length ? [heading("Trays"), el("ul", {}, ...kept.map(([title, tray]) => el("li", {},
      el("button", { class: "name", onclick: () => onOpen(tray) }, name(title)),
      button("×", () => {
        keep("trays", trays().filter(([one]) => one !== title));
        draw();
        panel.querySelector("summary")?.focus();
      }, `Forget ${title}`))))] : [],
    ...found.length ? [heading("Searches"), el("ol", {}, ...found.map(({ url, title, at }) =>
      el("li", {}, el("a", { href: url, class: "name" }, name(title)),
        el("span", { class: "fine" }, new Date(at).toLocaleString())))),
    button("Forget searches", () => {
      keep("searches", []);
      draw();
      $("results").focus();
    })] : [],
    el("p", { class: "fine" }, "Kept in this browser alone."));
}

draw();
addEventListener("storage", draw); // another window of this page
