// The examples that are collected for a search by several: like these, not like those.

import { $, el } from "./dom.js";
import { nameOf, shown } from "./image.js";
import { keyOf } from "./state.js";

const positive = new Map();
const negative = new Map();
let search = () => {};

export function onSearch(callback) {
  search = callback;
}

export function fill(liked, unliked) {
  positive.clear();
  negative.clear();
  for (const one of liked) positive.set(keyOf(one), one);
  for (const one of unliked) negative.set(keyOf(one), one);
  draw();
}

// The two buttons of an image, indexed or uploaded.
export function judge(one) {
  const key = keyOf(one);
  const button = (chosen, sign, text) =>
    el("button", {
      type: "button", "data-key": key, "data-into": chosen === positive ? "like" : "unlike",
      "aria-pressed": `${chosen.has(key)}`, "aria-label": `${text}: ${nameOf(one)}`,
      onclick: () => toggle(chosen, one),
      title: text,
    }, `${sign} ${text.split(" ")[0]}`);
  return el("div", { class: "judge" },
    button(positive, "+", "More like this"), button(negative, "−", "Less like this"));
}

function toggle(chosen, one) {
  const other = chosen === positive ? negative : positive;
  other.delete(keyOf(one));
  if (!chosen.delete(keyOf(one))) chosen.set(keyOf(one), one);
  draw();
}

function draw() {
  const tray = $("tray");
  const held = tray.contains(document.activeElement);
  tray.hidden = positive.size + negative.size === 0;
  tray.replaceChildren(
    group("Like", positive), group("Not like", negative),
    el("span", { class: "actions" },
      el("button", {
        type: "button", class: "primary", disabled: positive.size === 0,
        title: positive.size === 0 ? "Choose at least one image to look for" : "",
        onclick: () => search([...positive.keys()], [...negative.keys()]),
      }, "Search with these"),
      el("button", { type: "button", onclick: () => fill([], []) }, "Clear")),
  );
  if (held) (tray.hidden ? $("results") : tray.querySelector("button:not([disabled])")).focus();
  for (const button of document.querySelectorAll("button[data-key]")) {
    const chosen = button.dataset.into === "like" ? positive : negative;
    button.setAttribute("aria-pressed", `${chosen.has(button.dataset.key)}`);
  }
}

function group(title, chosen) {
  if (chosen.size === 0) return "";
  return el("span", { class: "group", role: "group", "aria-label": title },
    el("span", { class: "group-title" }, title),
    ...[...chosen.values()].map((one) =>
      el("button", {
        type: "button", class: "example",
        "aria-label": `Remove ${nameOf(one)}`, title: `Remove ${nameOf(one)}`,
        onclick: () => toggle(chosen, one),
      }, shown(one, "", 64))));
}
