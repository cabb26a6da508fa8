// What a search answers: the grid of hits, and what the nearest images say.

import { swatch } from "./colours.js";
import { $, count, el, path, picture } from "./dom.js";
import { nameOf, shown } from "./image.js";
import { address } from "./state.js";
import { judge } from "./tray.js";

export function showHits(hits, { wishes, own = null, judged = true }) {
  $("hits").replaceChildren(...hits.map((hit) => card(hit, wishes, own, judged)));
}

// Lets the hits that are still shown lead on with new wishes.
export function relink(wishes) {
  for (const link of document.querySelectorAll("#hits .hit")) {
    link.href = towards(link.dataset.id, wishes);
  }
}

const towards = (id, wishes) => address({ kind: "point", id }, wishes);

function card(hit, wishes, own, judged) {
  const other = own !== null && hit.class !== own;
  const facts = [
    judged ? el("span", { class: "rank" }, `${hit.rank}`) : null,
    judged ? el("span", { class: "score", title: "cosine similarity" }, hit.score.toFixed(4)) : null,
  ];
  const link = el(
    "a",
    { href: towards(hit.id, wishes), class: "hit", "data-id": hit.id, title: "Search from this image" },
    el("span", { class: "frame" }, picture(hit, ""),
      hit.identical ? el("span", { class: "badge" }, "identical file") : null),
    el("span", { class: "facts" }, ...facts),
    el(
      "span",
      { class: other ? "class other" : "class" },
      swatch(hit.class),
      hit.class,
      other ? el("span", { title: "another class" }, " ≠", el("span", { class: "unseen" }, " another class")) : null,
    ),
    path(hit),
  );
  return el("li", { class: "card" }, link, judged ? judge(hit) : null);
}

// Returns what a screen reader is told of it.
export function showExplanation(told, kind) {
  const panel = $("explanation");
  panel.hidden = told.votes.length === 0;
  if (panel.hidden) return "";
  const total = told.votes.reduce((sum, vote) => sum + vote.votes, 0);
  const isNew = kind === "embedding" && !told.unlike;
  const sure = isNew ? `${Math.min(99, Math.round(100 * told.confidence))} % sure` : "";
  const heading = isNew ? "Predicted class" : kind === "point" ? "Class by its neighbours" : "Nearest class";
  const unlike = "Unlike anything here.";
  panel.replaceChildren(
    told.unlike ? el("p", { class: "unlike" }, el("strong", {}, unlike),
      ` The best score is ${told.best.toFixed(3)}, where nearly every image here has another at ` +
      `${told.usual.toFixed(3)} or above.`) : "",
    el("div", { class: "verdict" },
      el("h2", {}, heading),
      el("p", { class: "predicted" }, swatch(told.predicted), el("strong", {}, told.predicted),
        el("span", { title: "Of predictions this sure, about this share is right" }, sure)),
      el("p", { class: "fine" }, `Votes of the ${count(total)} nearest, by score`)),
    el("ul", { class: "votes" },
      ...told.votes.slice(0, 6).map((vote) => row(vote, total))),
  );
  return `${told.unlike ? unlike : ""} ${heading}: ${told.predicted} ${sure}`;
}

function row(vote, total) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  bar.append(el("span"));
  bar.firstChild.style.width = `${100 * vote.share}%`;
  return el("li", {}, el("span", { class: "name" }, swatch(vote.class), vote.class), bar,
    el("span", { class: "number" }, `${count(vote.votes)} of ${count(total)}`));
}

export function showQuery(parts) {
  $("query").replaceChildren(...parts);
}

export function uploadedPicture(uploaded) {
  const name = nameOf(uploaded);
  return [
    el("figure", {}, el("span", { class: "frame" }, shown(uploaded, `The query, ${name}`, 512)),
      el("figcaption", {}, el("span", { class: "path" }, name))),
    judge(uploaded),
  ];
}

export function storedPicture(stored) {
  return [
    el("figure", {}, el("span", { class: "frame" }, picture(stored, `The query, ${stored.path}`, 512)),
      el("figcaption", {},
        el("span", { class: "class" }, swatch(stored.class), stored.class),
        path(stored))),
    judge(stored),
  ];
}

export function setPictures(positive, negative) {
  const line = (title, images) =>
    images.length === 0 ? [] : [
      el("h2", {}, title),
      el("ul", { class: "set" }, ...images.map((one) =>
        el("li", { title: nameOf(one) },
          shown(one, one.class ? `${one.class}: ${one.path}` : nameOf(one), 128)))),
    ];
  return [...line("Like", positive), ...line("Not like", negative)];
}
