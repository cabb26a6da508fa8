// The tray of positive and negative examples that are collected for one search.

import { $, el, span } from "./dom.js";
import { imageName, thumbnail } from "./image.js";
import { imageKey } from "./state.js";

/** @import { Image } from "./api.js" */
/** @typedef {Map<string, Image>} Examples by key */
/** @typedef {(positive: string[], negative: string[]) => void} OnSearch */

/** @type {Examples} */
const positive = new Map();
/** @type {Examples} */
const negative = new Map();
/** @type {OnSearch} */
let onSearch = () => {};

/**
 * Set what the tray's search button calls, with the keys of the examples.
 * @param {OnSearch} callback
 */
export function setOnSearch(callback) {
  onSearch = callback;
}

/**
 * Replace the examples.
 * @param {Image[]} newPositive
 * @param {Image[]} newNegative
 */
export function setExamples(newPositive, newNegative) {
  positive.clear();
  negative.clear();
  for (const image of newPositive) positive.set(imageKey(image), image);
  for (const image of newNegative) negative.set(imageKey(image), image);
  draw();
}

/**
 * Create the two buttons that make an image an example.
 * @param {Image} image
 */
export function exampleButtons(image) {
  const key = imageKey(image);
  /** @type {(examples: Examples, sign: string, label: string) => HTMLElement} */
  const button = (examples, sign, label) =>
    el(
      "button",
      {
        type: "button",
        title: label,
        "aria-label": `${label}: ${imageName(image)}`,
        "aria-pressed": `${examples.has(key)}`,
        "data-key": key,
        "data-examples": examples === positive ? "positive" : "negative",
        onclick: () => toggle(examples, image),
      },
      `${sign} ${label.split(" ")[0]}`,
    );
  return el(
    "div",
    { class: "example-buttons" },
    button(positive, "+", "More like this"),
    button(negative, "−", "Less like this"),
  );
}

/**
 * @param {Examples} examples
 * @param {Image} image
 */
function toggle(examples, image) {
  const others = examples === positive ? negative : positive;
  const key = imageKey(image);
  others.delete(key);
  if (!examples.delete(key)) examples.set(key, image);
  draw();
}

function draw() {
  const tray = $("tray");
  const hadFocus = tray.contains(document.activeElement);
  const empty = positive.size === 0;
  tray.hidden = positive.size + negative.size === 0;
  tray.replaceChildren(
    ...group("Like", positive),
    ...group("Not like", negative),
    span(
      "actions",
      el(
        "button",
        {
          type: "button",
          class: "primary",
          disabled: empty,
          title: empty ? "Choose at least one image to look for" : "",
          onclick: () => onSearch([...positive.keys()], [...negative.keys()]),
        },
        "Search with these",
      ),
      el("button", { type: "button", onclick: () => setExamples([], []) }, "Clear"),
    ),
  );
  if (hadFocus) {
    /** @type {HTMLElement | null} */
    const next = tray.hidden ? $("results") : tray.querySelector("button:not([disabled])");
    next?.focus();
  }
  /** @type {NodeListOf<HTMLElement>} */
  const buttons = document.querySelectorAll("button[data-key]");
  for (const button of buttons) {
    const examples = button.dataset.examples === "positive" ? positive : negative;
    button.setAttribute("aria-pressed", `${examples.has(button.dataset.key ?? "")}`);
  }
}

/**
 * @param {string} title
 * @param {Examples} examples
 */
function group(title, examples) {
  if (examples.size === 0) return [];
  const buttons = [...examples.values()].map((image) => {
    const label = `Remove ${imageName(image)}`;
    const onclick = () => toggle(examples, image);
    return el(
      "button",
      { type: "button", class: "example", "aria-label": label, title: label, onclick },
      thumbnail(image, "", 64),
    );
  });
  return [
    el(
      "span",
      { class: "group", role: "group", "aria-label": title },
      span("group-title", title),
      ...buttons,
    ),
  ];
}
