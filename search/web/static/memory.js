// What this browser remembers: searches, and trays of examples by name.

import { $, el, isolated, span } from "./dom.js";
import { keep, recall } from "./storage.js";
import { examplesOf, setExamples } from "./tray.js";

const MOST_SEARCHES = 50;
const MOST_TRAYS = 30;
const LONGEST = 4000; // characters of an address; searches by many examples are not kept

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
    const open = () => {
      setExamples(tray);
      $("tray").querySelector("button")?.focus();
    };
    return el("li", { class: "row" },
      el("button", { class: "name", onclick: open }, isolated(title)),
      el("button", { "aria-label": `Forget ${title}`, onclick: forget }, "×"));
  }));
  $("searches").replaceChildren(...found.map(({ url, title, at }) =>
    el("li", {}, el("a", { href: url, class: "name" }, isolated(title)),
      span("fine", new Date(at).toLocaleString()))));
}

$("tray-keep").onsubmit = (event) => {
  event.preventDefault();
  const input = $("tray-title");
  const title = input.value.trim();
  const kept = keep("trays", [[title, examplesOf()], ...trays(title)].slice(0, MOST_TRAYS));
  input.value = "";
  input.placeholder = kept ? "Kept" : "This browser keeps nothing";
  draw();
};
$("forget").onclick = () => {
  keep("searches", []);
  draw();
  $("results").focus();
};
draw();
addEventListener("storage", draw); // another window of this page
