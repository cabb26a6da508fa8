// The tray of positive and negative examples of one search.

import { $, el } from "./dom.js";
import { imageName, thumbnail } from "./image.js";
import { imageKey } from "./state.js";

const tray = $("tray");
const search = $("tray-search");
const examples = /** @type {Map<string, { image: Image, sign: Sign }>} by key */ (new Map());

/** Say what the search calls, with keys. @param {OnSearch} onSearch */
export function setOnSearch(onSearch) {
  search.onclick = () => onSearch(imagesOf("positive").map(imageKey), imagesOf("negative").map(imageKey));
}

/** @param {Tray} tray */
export function setExamples({ positive, negative }) {
  examples.clear();
  for (const image of positive) examples.set(imageKey(image), { image, sign: "positive" });
  for (const image of negative) examples.set(imageKey(image), { image, sign: "negative" });
  draw();
}

/** @param {Image} image */
export function exampleButtons(image) {
  const key = imageKey(image);
  /** @param {Sign} sign @param {string} mark */
  const button = (sign, mark) => el("button", {
    title: `${mark.slice(2)} like this`, "aria-label": `${mark.slice(2)} like this: ${imageName(image)}`,
    "aria-pressed": `${examples.get(key)?.sign === sign}`, "data-key": key, "data-sign": sign,
    onclick: () => toggle(image, sign),
  }, mark);
  return el("div", { class: "example-buttons row" }, button("positive", "+ More"), button("negative", "− Less"));
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

export const examplesOf = () => ({ positive: imagesOf("positive"), negative: imagesOf("negative") });

function draw() {
  const hadFocus = tray.contains(document.activeElement);
  tray.hidden = examples.size === 0;
  for (const sign of /** @type {const} */ (["positive", "negative"])) {
    const images = imagesOf(sign);
    $(`tray-${sign}`).hidden = images.length === 0;
    $(`tray-${sign}`).lastElementChild?.replaceChildren(...images.map((image) => {
      const label = `Remove ${imageName(image)}`;
      const onclick = () => toggle(image, sign);
      return el("button", { class: "example", "aria-label": label, title: label, onclick },
        thumbnail(image, "", 64));
    }));
  }
  search.disabled = imagesOf("positive").length === 0;
  search.title = search.disabled ? "Choose at least one image to look for" : "";
  $("tray-title").placeholder = "Name";
  const first = [...tray.querySelectorAll("button")].find((button) => !button.disabled);
  if (hadFocus) (tray.hidden ? $("results") : first)?.focus();
  for (const button of document.querySelectorAll("button")) {
    const { key, sign } = button.dataset;
    if (key) button.ariaPressed = `${examples.get(key)?.sign === sign}`;
  }
}

$("tray-clear").onclick = () => setExamples({ positive: [], negative: [] });
