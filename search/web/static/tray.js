// The tray of positive and negative examples that are collected for one search.

import { $, el } from "./dom.js";
import { imageName, thumbnail } from "./image.js";
import { keepTray, setOnOpenTray } from "./memory.js";
import { imageKey } from "./state.js";

const tray = $("tray");
const search = $("tray-search");
const title = $("tray-title");
const examples = /** @type {Map<string, { image: Image, sign: Sign }>} by key */ (new Map());
let onSearch = /** @type {(positive: string[], negative: string[]) => void} */ (() => {});

/** @param {typeof onSearch} callback with keys */
export const setOnSearch = (callback) => { onSearch = callback; };

/** @param {Image[]} positive @param {Image[]} negative */
export function setExamples(positive, negative) {
  examples.clear();
  for (const image of positive) examples.set(imageKey(image), { image, sign: "positive" });
  for (const image of negative) examples.set(imageKey(image), { image, sign: "negative" });
  draw();
}

/** @param {Image} image */
export function exampleButtons(image) {
  const key = imageKey(image);
  /** @type {(sign: Sign, mark: string, label: string) => HTMLElement} */
  const button = (sign, mark, label) => el("button", {
    title: label, "aria-label": `${label}: ${imageName(image)}`,
    "aria-pressed": `${examples.get(key)?.sign === sign}`, "data-key": key, "data-sign": sign,
    onclick: () => toggle(image, sign),
  }, `${mark} ${label.split(" ")[0]}`);
  return el("div", { class: "example-buttons row" },
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
  title.placeholder = "Name";
  const first = [...tray.querySelectorAll("button")].find((button) => !button.disabled);
  if (hadFocus) (tray.hidden ? $("results") : first)?.focus();
  for (const button of document.querySelectorAll("button")) {
    const { key, sign } = button.dataset;
    if (key) button.ariaPressed = `${examples.get(key)?.sign === sign}`;
  }
}

search.onclick = () =>
  onSearch(imagesOf("positive").map(imageKey), imagesOf("negative").map(imageKey));
$("tray-clear").onclick = () => setExamples([], []);
$("tray-keep").onsubmit = (event) => {
  event.preventDefault();
  const [positive, negative] = [imagesOf("positive"), imagesOf("negative")];
  const kept = keepTray(title.value.trim(), { positive, negative });
  title.value = "";
  title.placeholder = kept ? "Kept" : "This browser keeps nothing";
};
setOnOpenTray(({ positive, negative }) => {
  setExamples(positive, negative);
  tray.querySelector("button")?.focus();
});
