// Says what the page is doing: the status above the hits, and the notice beside the query.

import { $, span } from "./dom.js";

/**
 * Say that a search is under way.
 * @param {string} text
 */
export function busy(text) {
  $("results").ariaBusy = "true";
  setStatus(text);
}

/**
 * Say how a search ended; `summary` is for screen readers alone.
 * @param {string} text
 * @param {string} [summary]
 */
export function done(text, summary = "") {
  $("results").ariaBusy = null;
  setStatus(text, summary);
}

/**
 * @param {string} text
 * @param {string} [summary]
 */
function setStatus(text, summary = "") {
  $("status").replaceChildren(text, span("visually-hidden", ` ${summary}`));
}

/**
 * Show a notice. An empty text hides it.
 * @param {string} text
 */
export function warn(text) {
  $("notice").hidden = text === "";
  $("notice").textContent = text;
}
