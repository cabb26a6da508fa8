// What this browser remembers: the latest searches, and trays of examples by name.

import { $, el, isolated, span } from "./dom.js";

const MOST_SEARCHES = 50;
const MOST_TRAYS = 30;
const LONGEST = 4000; // characters of an address; searches by many examples are not kept

let onOpen = /** @type {(tray: Tray) => void} */ (() => {});

/** @param {string} key of a list @returns {any[]} */
export function recall(key) {
  try {
    const kept = JSON.parse(localStorage.getItem(`geosim-${key}`) ?? "");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return []; // nothing, or forbidden
  }
}

/** Return whether that worked. @param {string} key @param {unknown} value */
export function keep(key, value) {
  try {
    localStorage.setItem(`geosim-${key}`, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the page works without
  }
}

const searches = () => /** @type {PastSearch[]} */ (recall("searches"));

/** Return the trays of other names. @param {string} [name] */
const trays = (name) =>
  /** @type {[string, Tray][]} */ (recall("trays")).filter(([one]) => one !== name);

/** @param {string} url @param {string} title */
export function rememberSearch(url, title) {
  if (url.length > LONGEST) return;
  const others = searches().filter((one) => one.url !== url);
  keep("searches", [{ url, title, at: Date.now() }, ...others].slice(0, MOST_SEARCHES));
  draw();
}

/** Return whether that worked. @param {string} title @param {Tray} tray */
export function keepTray(title, tray) {
  const kept = keep("trays", [[title, tray], ...trays(title)].slice(0, MOST_TRAYS));
  draw();
  return kept;
}

/** @param {typeof onOpen} callback */
export const setOnOpenTray = (callback) => { onOpen = callback; };

function draw() {
  const [found, kept] = [searches(), trays()];
  $("kept-trays").hidden = kept.length === 0;
  $("kept-searches").hidden = found.length === 0;
  $("memory").hidden = kept.length + found.length === 0;
  $("trays").replaceChildren(...kept.map(([title, tray]) => {
    const forget = () => {
      keep("trays", trays(title));
      draw();
      $("memory").querySelector("summary")?.focus();
    };
    return el("li", { class: "row" },
      el("button", { class: "name", onclick: () => onOpen(tray) }, isolated(title)),
      el("button", { "aria-label": `Forget ${title}`, onclick: forget }, "×"));
  }));
  $("searches").replaceChildren(...found.map(({ url, title, at }) =>
    el("li", {}, el("a", { href: url, class: "name" }, isolated(title)),
      span("fine", new Date(at).toLocaleString()))));
}

$("forget").onclick = () => {
  keep("searches", []);
  draw();
  $("results").focus();
};
draw();
addEventListener("storage", draw); // another window of this page
