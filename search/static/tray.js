// The examples that are collected for a search by several: like these, not like those.

import { $, el, picture } from "./dom.js";

const likes = new Map();
const unlikes = new Map();
let search = () => {};

export function onSearch(callback) {
  search = callback;
}

export function fill(liked, unliked) {
  likes.clear();
  unlikes.clear();
  for (const one of liked) likes.set(one.id, one);
  for (const one of unliked) unlikes.set(one.id, one);
  draw();
}

// The two buttons of an image.
export function judge(stored) {
  const button = (chosen, sign, text) =>
    el("button", {
      type: "button", "data-id": stored.id, "data-into": chosen === likes ? "like" : "unlike",
      "aria-pressed": `${chosen.has(stored.id)}`, "aria-label": `${text}: ${stored.path}`,
      onclick: () => toggle(chosen, stored),
      title: text,
    }, `${sign} ${text.split(" ")[0]}`);
  return el("div", { class: "judge" },
    button(likes, "+", "More like this"), button(unlikes, "−", "Less like this"));
}

function toggle(chosen, stored) {
  const other = chosen === likes ? unlikes : likes;
  other.delete(stored.id);
  if (!chosen.delete(stored.id)) chosen.set(stored.id, stored);
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
  if (held) tray.querySelector("button:not([disabled])")?.focus();
  for (const button of document.querySelectorAll("button[data-id]")) {
    const chosen = button.dataset.into === "like" ? likes : unlikes;
    button.setAttribute("aria-pressed", `${chosen.has(button.dataset.id)}`);
  }
}

function group(title, chosen) {
  if (chosen.size === 0) return "";
  return el("span", { class: "group", role: "group", "aria-label": title },
    el("span", { class: "group-title" }, title),
    ...[...chosen.values()].map((one) =>
      el("button", {
        type: "button", class: "example", "aria-label": `Remove ${one.path}`, title: `Remove ${one.path}`,
        onclick: () => toggle(chosen, one),
      }, picture(one, "", 64))));
}
