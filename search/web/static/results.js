// Shows an answer: the query, the hits, and the classes of the nearest images.

import { classLabel, NO_CLASS, swatch } from "./colours.js";
import { boxOf, outlinePart, showPart } from "./crop.js";
import { $, count, el, fine, isolated, path, quantity, span } from "./dom.js";
import { showItems } from "./hits.js";
import { imageName, thumbnail } from "./image.js";
import { markButtons } from "./marks.js";
import { address, readAddress } from "./state.js";
import { exampleButtons } from "./tray.js";

const CLASS_HEADINGS = {
  embedding: "Predicted class", point: "Class by its neighbours", examples: "Nearest class",
};
const MAX_VOTES = 6; // classes that are shown
let current = /** @type {Options} of the links */ ({});

/** @type {ShowHits} */
export function showHits(hits, options, queryClass) {
  current = options;
  showItems(hits, (hit) => {
    const score = el("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(4));
    return card(hit, hitLink(hit, queryClass, span("rank", `${hit.rank}`), score),
      hit.specimen && specimenImages(hit.specimen), exampleButtons(hit), markButtons(hit));
  });
}

/** Link to the images of a specimen but the first, which is large. @param {Specimen} specimen */
function specimenImages({ value, images, best }) {
  const links = best.slice(1).map((image) => {
    const title = [image.path, image.score.toFixed(4), ...Object.values(image.shown).map(valueText)].join(", ");
    return el("li", {},
      el("a", { ...looking(image), title }, span("frame", thumbnail(image, title, 64))));
  });
  const rest = images - best.length;
  return el("div", { class: "specimen" },
    fine(quantity(images, "image"), rest ? `, ${count(rest)} not shown` : ""),
    el("ul", { class: "set", "aria-label": `Other images of ${valueText(value)}` }, ...links));
}

/** @param {Item[]} images @param {Options} options */
export function showSuggestions(images, options) {
  current = options;
  showItems(images, (image) => card(image, hitLink(image, null)));
}

/** @type {CreateCard} */
const card = ({ id, path: name }, link, ...others) => el("li", { class: "card" }, link, el("a", {
  href: address({ kind: "point", id }, current), class: "button",
  "aria-label": `Search from this: ${name}`,
}, "Search from this"), ...others);

/** @param {Options} options */
export function updateLinks(options) {
  current = options;
  const links = /** @type {NodeListOf<HTMLAnchorElement>} */ ($("hits").querySelectorAll("a.button"));
  for (const link of links) link.href = address(readAddress(link).query, options);
}

/** What makes a link open the lightbox. @param {StoredImage} image */
const looking = ({ id, picture }) => ({ href: `${picture}?side=1024`, "data-look": id });

/** @type {HitLink} */
function hitLink(hit, queryClass, ...facts) {
  const label = classLabel(hit.class);
  if (queryClass !== null && hit.class !== null && hit.class !== queryClass) {
    label.classList.add("other");
    label.append(
      el("span", { title: "another class" }, " ≠", span("visually-hidden", " another class")));
  }
  const picture = thumbnail(hit, "");
  const frame = span("frame", picture);
  if ("identical" in hit && hit.identical) frame.append(span("badge", "identical file"));
  if ("box" in hit && hit.box) outlinePart(frame, picture, boxOf(hit.box));
  return el("a", { ...looking(hit), class: "hit", title: "Look closely" }, frame,
    span("facts", ...facts), label, path(hit.path), shownFields(hit.shown));
}

/** @param {Shown} shown */
export function shownFields(shown) {
  const rows = Object.entries(shown).flatMap(([name, value]) =>
    [el("dt", {}, isolated(name)), el("dd", {}, isolated(valueText(value)))]);
  return rows.length ? el("dl", { class: "shown" }, ...rows) : null;
}

/** @param {Value} value */
function valueText(value) {
  if (value === null) return "–";
  return typeof value === "object" ? `${value.lat}, ${value.lon}` : `${value}`;
}

/** Return a summary for screen readers, too. @type {ShowExplanation} */
export function showExplanation(explanation, kind) {
  const { votes, without_class: unlabelled, predicted, confidence, unlike, best, usual, doubt } = explanation;
  $("explanation").hidden = votes.length === 0 && !unlike;
  $("verdict").hidden = votes.length === 0;
  const warning = unlike ? "Unlike anything here." : "";
  $("unlike").replaceChildren(...unlike ? [el("strong", {}, warning), ` The best score is ${best.toFixed(3)}, `
    + `where nearly every image here has another at ${usual?.toFixed(3)} or above.`] : []);
  const total = votes.reduce((sum, vote) => sum + vote.votes, 0);
  $("votes").replaceChildren(...votes.slice(0, MAX_VOTES).map((vote) => {
    const filled = el("span");
    filled.style.width = `${100 * vote.share}%`;
    return el("li", {},
      span("class", swatch(vote.class), isolated(vote.class)),
      el("span", { class: "bar", "aria-hidden": "true" }, filled),
      span("number", `${count(vote.votes)} of ${count(total)}`));
  }));
  if (votes.length === 0) return warning;
  const isPrediction = kind === "embedding" && predicted !== "";
  const heading = kind === "embedding" && !isPrediction ? "Nearest class" : CLASS_HEADINGS[kind];
  const sure = !isPrediction ? ""
    : confidence === null ? "the model was trained on too few images to tell how sure"
      : `${Math.min(99, Math.round(100 * confidence))} % sure`;
  const nearest = votes[0].class;
  const doubted = doubt ? `No class is predicted: ${doubt}.` : "";
  $("verdict-title").textContent = heading;
  $("verdict-class").replaceChildren(swatch(nearest), el("strong", {}, isolated(nearest)),
    el("span", { title: "Of predictions this sure, about this share is right" }, sure));
  $("verdict-doubt").textContent = doubted;
  const some = unlabelled ? `${count(total)} of ` : "";
  $("verdict-voters").textContent = `Votes of ${some}the ${count(total + unlabelled)} nearest of all, by score`
    + (unlabelled ? "; the others have no class" : "");
  return `${warning} ${heading}: ${nearest} ${sure} ${doubted}`;
}

/** @type {NothingFits} */
export function nothingFits({ votes, without_class: unlabelled }, options) {
  if (votes.length + unlabelled === 0) return "There is no other image in the collection.";
  const ways = [options.min_score && "lower the score", options.class && "allow another class"];
  return `No image fits: ${ways.filter(Boolean).join(", or ") || "choose fewer options"}.`;
}

/** Show the query; `example` is what is searched by, its part. @type {ShowImageQuery} */
export function showImageQuery(image, example, part) {
  const name = imageName(image);
  const picture = thumbnail(image, `The query, ${name}`, 512);
  const frame = span("frame", picture);
  const controls = showPart(frame, picture, part);
  if (picture instanceof HTMLImageElement) {
    controls.push(el("button", { "data-look": "query" }, "Look closely"));
  }
  const label = "class" in image ? classLabel(image.class) : null;
  showQuery(el("figure", {}, frame, el("figcaption", {}, label, path(name), ...controls)),
    exampleButtons(example));
}

/** @param {Tray} tray */
export const showExamplesQuery = ({ positive, negative }) =>
  showQuery(...exampleList("Like", positive), ...exampleList("Not like", negative));

/** @param {...Node} children */
export const showQuery = (...children) => $("query").replaceChildren(...children);

/** @param {string} title @param {Image[]} images */
function exampleList(title, images) {
  if (images.length === 0) return [];
  const items = images.map((image) => {
    const name = imageName(image);
    const alt = "class" in image ? `${image.class ?? NO_CLASS}: ${name}` : name;
    return el("li", { title: name }, thumbnail(image, alt, 128));
  });
  return [el("h2", {}, title), el("ul", { class: "set" }, ...items)];
}
