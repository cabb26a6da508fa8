// The tray of positive and negative examples that are collected for one search.

import { $, el, span } from "./dom.js";
import { imageName, thumbnail } from "./image.js";
import { keepTray, setOnOpenTray } from "./memory.js";
import { imageKey } from "./state.js";

/** @type {Map<string, { image: Image, sign: Sign }>} by key */
const examples = new Map();
/** @type {(positive: string[], negative: string[]) => void} */
let onSearch = () => {};

/** Set what the tray's search button calls, with keys. @param {typeof onSearch} callback */
export const setOnSearch = (callback) => { onSearch = callback; };

/** @param {Image[]} positive @param {Image[]} negative */
export function setExamples(positive, negative) {
  examples.clear();
  for (const image of positive) examples.set(imageKey(image), { image, sign: "positive" });
  for (const image of negative) examples.set(imageKey(image), { image, sign: "negative" });
  draw();
}

/** Create the two buttons that make an image an example. @param {Image} image */
export function exampleButtons(image) {
  const key = imageKey(image);
  /** @type {(sign: Sign, mark: string, label: string) => HTMLElement} */
  const button = (sign, mark, label) =>
    el("button", {
      title: label, "aria-label": `${label}: ${imageName(image)}`,
      "aria-pressed": `${examples.get(key)?.sign === sign}`, "data-key": key, "data-sign": sign,
      onclick: () => toggle(image, sign),
    }, `${mark} ${label.split(" ")[0]}`);
  return el("div", { class: "example-buttons" },
    button("positive", "+", "More like this"), button("negative", "−", "Less like this"));
}

/** @param {Image} image @param {Sign} sign */
function toggle(image, sign) {
  const key = imageKey(image);
  const pressed = examples.get(key)?.sign === sign;
  examples.delete(key);
  if (!pressed) examples.set(key, { image, sign });
  draw();
}

/** @param {Sign} sign */
const imagesOf = (sign) =>
  [...examples.values()].filter((example) => example.sign === sign).map(({ image }) => image);

function draw() {
  const tray = $("tray");
  const hadFocus = tray.contains(document.activeElement);
  const [positive, negative] = [imagesOf("positive"), imagesOf("negative")];
  const empty = positive.length === 0;
  tray.hidden = examples.size === 0;
  tray.replaceChildren(
    ...group("Like", positive, "positive"), ...group("Not like", negative, "negative"),
    span("actions",
      el("button", {
        class: "primary", disabled: empty,
        title: empty ? "Choose at least one image to look for" : "",
        onclick: () => onSearch(positive.map(imageKey), negative.map(imageKey)),
      }, "Search with these"),
      keepForm(positive, negative),
      el("button", { onclick: () => setExamples([], []) }, "Clear")),
  );
  const first = [...tray.querySelectorAll("button")].find((button) => !button.disabled);
  if (hadFocus) (tray.hidden ? $("results") : first)?.focus();
  for (const button of document.querySelectorAll("button")) {
    const { key, sign } = button.dataset;
    if (key) button.ariaPressed = `${examples.get(key)?.sign === sign}`;
  }
}

/** @param {Image[]} positive @param {Image[]} negative */
function keepForm(positive, negative) {
  const input = el("input", { "aria-label": "Name of the tray", placeholder: "Name", maxlength: 60, pattern: ".*\\S.*", required: true });
  const onsubmit = /** @param {Event} event */ (event) => {
    event.preventDefault();
    const kept = keepTray(input.value.trim(), { positive, negative });
    input.value = "";
    input.placeholder = kept ? "Kept" : "This browser keeps nothing";
  };
  return el("form", { class: "keep", onsubmit }, input, el("button", { type: "submit" }, "Keep"));
}

/** @param {string} title @param {Image[]} images @param {Sign} sign */
function group(title, images, sign) {
  if (images.length === 0) return [];
  const buttons = images.map((image) => {
    const label = `Remove ${imageName(image)}`;
    const onclick = () => toggle(image, sign);
    return el("button",
      { class: "example", "aria-label": label, title: label, onclick },
      thumbnail(image, "", 64));
  });
  return [el("span", { class: "group", role: "group", "aria-label": title },
    span("group-title", title), ...buttons)];
}

setOnOpenTray(({ positive, negative }) => {
  setExamples(positive, negative);
  $("tray").querySelector("button")?.focus();
});
