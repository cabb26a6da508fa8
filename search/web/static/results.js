// Shows an answer: the query, the hits, and the classes of the nearest images.

import { swatch } from "./colours.js";
import { $, count, el, path, picture, span } from "./dom.js";
import { imageName, thumbnail } from "./image.js";
import { address } from "./state.js";
import { exampleButtons } from "./tray.js";

/** @import { Explanation, Hit, Image, StoredImage, UploadedImage, Vote } from "./api.js" */
/** @import { Options, Query } from "./state.js" */

const CLASS_HEADINGS = {
  embedding: "Predicted class",
  point: "Class by its neighbours",
  examples: "Nearest class",
};
const MAX_VOTES = 6; // classes that are shown

/**
 * Show the hits of a search, with ranks and scores.
 * @param {Hit[]} hits
 * @param {Options} options
 * @param {string | null} queryClass a hit of another class is marked
 */
export function showHits(hits, options, queryClass) {
  const cards = hits.map((hit) =>
    el(
      "li",
      { class: "card" },
      hitLink(
        hit,
        options,
        queryClass,
        span("rank", `${hit.rank}`),
        el("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(4)),
      ),
      exampleButtons(hit),
    ),
  );
  $("hits").replaceChildren(...cards);
}

/**
 * Show images to start from.
 * @param {Hit[]} images
 * @param {Options} options
 */
export function showSuggestions(images, options) {
  const cards = images.map((image) => el("li", { class: "card" }, hitLink(image, options, null)));
  $("hits").replaceChildren(...cards);
}

/**
 * Give the links of the hits other options.
 * @param {Options} options
 */
export function updateLinks(options) {
  /** @type {NodeListOf<HTMLAnchorElement>} */
  const links = document.querySelectorAll("#hits .hit");
  for (const link of links) link.href = similarAddress(link.dataset.id ?? "", options);
}

/** @type {(id: string, options: Options) => string} */
const similarAddress = (id, options) => address({ kind: "point", id }, options);

/**
 * @param {Hit} hit
 * @param {Options} options
 * @param {string | null} queryClass
 * @param {...Node} facts
 */
function hitLink(hit, options, queryClass, ...facts) {
  const other = queryClass !== null && hit.class !== queryClass;
  const href = similarAddress(hit.id, options);
  return el(
    "a",
    { href, class: "hit", "data-id": hit.id, title: "Search from this image" },
    span("frame", picture(hit, ""), hit.identical ? span("badge", "identical file") : null),
    span("facts", ...facts),
    el(
      "span",
      { class: other ? "class other" : "class" },
      swatch(hit.class),
      hit.class,
      other
        ? el("span", { title: "another class" }, " ≠", span("visually-hidden", " another class"))
        : null,
    ),
    path(hit),
  );
}

/**
 * Show the classes of the nearest images. Return a summary for screen readers.
 * @param {Explanation} explanation
 * @param {Query["kind"]} kind
 */
export function showExplanation({ votes, predicted, confidence, unlike, best, usual }, kind) {
  const panel = $("explanation");
  panel.hidden = votes.length === 0;
  if (panel.hidden) return "";
  const total = votes.reduce((sum, vote) => sum + vote.votes, 0);
  const isPrediction = kind === "embedding" && !unlike;
  const heading = unlike ? "Nearest class" : CLASS_HEADINGS[kind];
  const sure = isPrediction ? `${Math.min(99, Math.round(100 * confidence))} % sure` : "";
  const warning = "Unlike anything here.";
  panel.replaceChildren(
    unlike
      ? el(
          "p",
          { class: "unlike" },
          el("strong", {}, warning),
          ` The best score is ${best.toFixed(3)}, where nearly every image here has another at ` +
            `${usual?.toFixed(3)} or above.`,
        )
      : "",
    el(
      "div",
      { class: "verdict" },
      el("h2", {}, heading),
      el(
        "p",
        { class: "predicted" },
        swatch(predicted),
        el("strong", {}, predicted),
        el("span", { title: "Of predictions this sure, about this share is right" }, sure),
      ),
      el("p", { class: "fine" }, `Votes of the ${count(total)} nearest, by score`),
    ),
    el("ul", { class: "votes" }, ...votes.slice(0, MAX_VOTES).map((vote) => voteRow(vote, total))),
  );
  return `${unlike ? warning : ""} ${heading}: ${predicted} ${sure}`;
}

/**
 * @param {Vote} vote
 * @param {number} total
 */
function voteRow(vote, total) {
  const filled = el("span");
  filled.style.width = `${100 * vote.share}%`;
  return el(
    "li",
    {},
    span("name", swatch(vote.class), vote.class),
    el("span", { class: "bar", "aria-hidden": "true" }, filled),
    span("number", `${count(vote.votes)} of ${count(total)}`),
  );
}

/** @param {UploadedImage} image */
export function showUploadedQuery(image) {
  const name = imageName(image);
  showQuery(
    figure(thumbnail(image, `The query, ${name}`, 512), span("path", name)),
    exampleButtons(image),
  );
}

/** @param {StoredImage} image */
export function showStoredQuery(image) {
  showQuery(
    figure(
      picture(image, `The query, ${image.path}`, 512),
      span("class", swatch(image.class), image.class),
      path(image),
    ),
    exampleButtons(image),
  );
}

/**
 * @param {Image[]} positive
 * @param {Image[]} negative
 */
export function showExamplesQuery(positive, negative) {
  showQuery(...exampleList("Like", positive), ...exampleList("Not like", negative));
}

/** @param {...Node} children none hides the query */
export function showQuery(...children) {
  $("query").replaceChildren(...children);
}

/**
 * @param {Node} image
 * @param {...Node} caption
 */
function figure(image, ...caption) {
  return el("figure", {}, span("frame", image), el("figcaption", {}, ...caption));
}

/**
 * @param {string} title
 * @param {Image[]} images
 */
function exampleList(title, images) {
  if (images.length === 0) return [];
  const items = images.map((image) => {
    const name = imageName(image);
    const alt = "class" in image ? `${image.class}: ${name}` : name;
    return el("li", { title: name }, thumbnail(image, alt, 128));
  });
  return [el("h2", {}, title), el("ul", { class: "set" }, ...items)];
}
