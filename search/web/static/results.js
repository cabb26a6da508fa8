// Shows an answer: the query, the hits, and the classes of the nearest images.

import { classLabel, NO_CLASS, swatch } from "./colours.js";
import { boxOf, outlinePart, showPart } from "./crop.js";
import { $, count, el, name as isolated, path, quantity, span } from "./dom.js";
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

/** @param {Hit[]} hits @param {Options} options @param {Class} queryClass */
export function showHits(hits, options, queryClass) {
  current = options;
  showItems(hits, (hit) => {
    const score = el("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(4));
    const link = hitLink(hit, queryClass, span("rank", `${hit.rank}`), score);
    return card(link, fromLink(hit), hit.specimen && specimenImages(hit.specimen), exampleButtons(hit),
      markButtons(hit));
  });
}

/** Create links to the images of a specimen, small. The card shows the first one large.
 * @param {Specimen} specimen */
function specimenImages({ value, images, best }) {
  const links = best.slice(1).map((image) => {
    const title = [image.path, image.score.toFixed(4),
      ...Object.values(image.shown).map(valueText)].join(", ");
    const frame = span("frame", thumbnail(image, title, 64));
    return el("li", {}, el("a", { ...looking(image), title }, frame));
  });
  const rest = images - best.length;
  return el("div", { class: "specimen" },
    el("p", { class: "fine" }, `${quantity(images, "image")}${rest ? `, ${count(rest)} not shown` : ""}`),
    el("ul", { class: "set", "aria-label": `Other images of ${valueText(value)}` }, ...links));
}

/** Show images without a query. @param {(Hit | Listed)[]} images @param {Options} options */
export function showSuggestions(images, options) {
  current = options;
  showItems(images, (image) => card(hitLink(image, null), fromLink(image)));
}

/** @param {...(Node | null)} children */
const card = (...children) => el("li", { class: "card" }, ...children);

/** @param {Options} options */
export function updateLinks(options) {
  current = options;
  const links = /** @type {NodeListOf<HTMLAnchorElement>} */ ($("hits").querySelectorAll("a.button"));
  for (const link of links) link.href = address(readAddress(link).query, options);
}

/** Return what makes a link open the lightbox. @param {StoredImage} image */
const looking = ({ id, picture }) => ({ href: `${picture}?side=1024`, "data-look": id });

/** @param {StoredImage} image */
const fromLink = ({ id, path: name }) => el("a", {
  href: address({ kind: "point", id }, current), class: "button",
  "aria-label": `Search from this: ${name}`,
}, "Search from this");

/** @type {(hit: Hit | Listed, queryClass: Class, ...facts: Node[]) => Node} */
function hitLink(hit, queryClass, ...facts) {
  const label = classLabel(hit.class);
  if (queryClass !== null && hit.class !== null && hit.class !== queryClass) {
    label.classList.add("other");
    label.append(
      el("span", { title: "another class" }, " ≠", span("visually-hidden", " another class")));
  }
  const picture = thumbnail(hit, "");
  const frame = span("frame", picture, "identical" in hit && hit.identical ? span("badge", "identical file") : null);
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

/** Show the classes of the nearest images. Return a summary for screen readers.
 * @param {Explanation} explanation @param {Query["kind"]} kind */
export function showExplanation(explanation, kind) {
  const { votes, without_class: unlabelled, predicted, confidence } = explanation;
  const { unlike, best, usual, doubt } = explanation;
  const panel = $("explanation");
  panel.hidden = votes.length === 0 && !unlike;
  if (panel.hidden) return "";
  const total = votes.reduce((sum, vote) => sum + vote.votes, 0);
  const isPrediction = kind === "embedding" && predicted !== "";
  const heading = kind === "embedding" && !isPrediction ? "Nearest class" : CLASS_HEADINGS[kind];
  const percent = confidence === null ? "the model was trained on too few images to tell how sure"
    : `${Math.min(99, Math.round(100 * confidence))} % sure`;
  const sure = isPrediction ? percent : "";
  const nearest = votes[0]?.class ?? "";
  const warning = unlike ? "Unlike anything here." : "";
  const scores = ` The best score is ${best.toFixed(3)}, where nearly every image here has ` +
    `another at ${usual?.toFixed(3)} or above.`;
  const voters = unlabelled
    ? `Votes of ${count(total)} of the ${count(total + unlabelled)} nearest, by score; ` +
      "the others have no class"
    : `Votes of the ${count(total)} nearest, by score`;
  panel.replaceChildren(
    unlike ? el("p", { class: "unlike" }, el("strong", {}, warning), scores) : "");
  if (votes.length === 0) return warning;
  panel.append(
    el("div", { class: "verdict" },
      el("h2", {}, heading),
      el("p", { class: "predicted" }, swatch(nearest), el("strong", {}, isolated(nearest)),
        el("span", { title: "Of predictions this sure, about this share is right" }, sure)),
      doubt ? el("p", {}, `No class is predicted: ${doubt}.`) : "",
      el("p", { class: "fine" }, voters)),
    el("ul", { class: "votes" }, ...votes.slice(0, MAX_VOTES).map((vote) => voteRow(vote, total))),
  );
  return `${warning} ${heading}: ${nearest} ${sure}${doubt ? `. No class is predicted: ${doubt}.` : ""}`;
}

/** Return why there are no hits. @param {Explanation} explanation @param {Options} options */
export function nothingFits({ votes, without_class: unlabelled }, options) {
  if (votes.length + unlabelled === 0) return "There is no other image in the collection.";
  const ways = [options.min_score && "lower the score", options.class && "allow another class"];
  return `No image fits: ${ways.filter(Boolean).join(", or ") || "choose fewer options"}.`;
}

/** @param {Vote} vote @param {number} total */
function voteRow(vote, total) {
  const filled = el("span");
  filled.style.width = `${100 * vote.share}%`;
  return el("li", {},
    span("name", swatch(vote.class), isolated(vote.class)),
    el("span", { class: "bar", "aria-hidden": "true" }, filled),
    span("number", `${count(vote.votes)} of ${count(total)}`));
}

/** Show the query; `example` is what is searched by, its part. @param {Image} image
 * @param {Image} example @param {Part} part */
export function showImageQuery(image, example, part) {
  const name = imageName(image);
  const picture = thumbnail(image, `The query, ${name}`, 512);
  const frame = span("frame", picture);
  const controls = showPart(frame, picture, part);
  const look = el("button", { "data-look": "query" }, "Look closely");
  if (picture instanceof HTMLImageElement) controls.push(look);
  showQuery(
    el("figure", {}, frame,
      el("figcaption", {}, "class" in image ? classLabel(image.class) : null, path(name),
        ...controls)),
    exampleButtons(example),
  );
}

/** @param {Image[]} positive @param {Image[]} negative */
export function showExamplesQuery(positive, negative) {
  showQuery(...exampleList("Like", positive), ...exampleList("Not like", negative));
}

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
