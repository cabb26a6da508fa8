// The examples that are collected for a search by several: like these, not like those.

import { $, el } from "./dom.js";
import { nameOf, shown } from "./image.js";
import { keyOf } from "./state.js";

const likes = new Map();
const unlikes = new Map();
let search = () => {};

export function onSearch(callback) {
  search = callback;
}

export function fill(liked, unliked) {
  likes.clear();
  unlikes.clear();
  for (const one of liked) likes.set(keyOf(one), one);
  for (const one of unliked) unlikes.set(keyOf(one), one);
  draw();
}

// The two buttons of an image, indexed or uploaded.
export function judge(one) {
  const key = keyOf(one);
  const button = (chosen, sign, text) =>
    el("button", {
      type: "button", "data-key": key, "data-into": chosen === likes ? "like" : "unlike",
      "aria-pressed": `${chosen.has(key)}`, "aria-label": `${text}: ${nameOf(one)}`,
      onclick: () => toggle(chosen, one),
      title: text,
    }, `${sign} ${text.split(" ")[0]}`);
  return el("div", { class: "judge" },
    button(likes, "+", "More like this"), button(unlikes, "−", "Less like this"));
}

function toggle(chosen, one) {
  const other = chosen === likes ? unlikes : likes;
  other.delete(keyOf(one));
  if (!chosen.delete(keyOf(one))) chosen.set(keyOf(one), one);
  draw();
}

function draw() {
  const tray = $("tray");
  const held = tray.contains(document.activeElement);
  tray.hidden = likes.size + unlikes.size === 0;
  tray.replaceChildren(
    group("Like", likes), group("Not like", unlikes),
    el("span", { class: "actions" },
      el("button", {
        type: "button", class: "primary", disabled: likes.size === 0,
        title: likes.size === 0 ? "Choose at least one image to look for" : "",
        onclick: () => search([...likes.keys()], [...unlikes.keys()]),
      }, "Search with these"),
      el("button", { type: "button", onclick: () => fill([], []) }, "Clear")),
  );
  if (held) (tray.hidden ? $("results") : tray.querySelector("button:not([disabled])")).focus();
  for (const button of document.querySelectorAll("button[data-key]")) {
    const chosen = button.dataset.into === "like" ? likes : unlikes;
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
