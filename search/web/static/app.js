// The page: reads the address, searches, and shows the answer.

import { api, isAbort, post } from "./api.js";
import { loadCollection } from "./collection.js";
import { $, quantity } from "./dom.js";
import { fillForm, listenForOptions } from "./form.js";
import { openMap } from "./map.js";
import {
  showExamplesQuery,
  showExplanation,
  showHits,
  showQuery,
  showStoredQuery,
  showSuggestions,
  showUploadedQuery,
  updateLinks,
} from "./results.js";
import {
  address,
  imageKey,
  parameters,
  parseKey,
  randomEmbedding,
  readAddress,
  uploadParameters,
} from "./state.js";
import { busy, done, warn } from "./status.js";
import { setExamples, setOnSearch } from "./tray.js";
import { listenForFiles, searchByFile } from "./upload.js";

/** @import { Answer, Collection } from "./api.js" */
/** @import { Options, Query } from "./state.js" */

const QUERY_TITLES = {
  embedding: "Your picture",
  point: "From the collection",
  examples: "Several examples",
};

let current = new AbortController(); // of the current search, aborted by the next one
/** @type {File[]} */
let uploading = [];

// Navigation

/** @param {string | URL} url */
function navigate(url) {
  history.pushState(null, "", url);
  return show({ focus: true });
}

/** Abort the current search. Return the signal of a new one. */
function restart() {
  current.abort();
  current = new AbortController();
  return current.signal;
}

/** Show what the address says. */
async function show({ focus = false } = {}) {
  const signal = restart();
  uploading = [];
  const { map, query, options } = readAddress(location);
  showView(map);
  warn("");
  if (!map) fillForm(options); // before any wait, so that it replaces nothing that is typed
  try {
    await loadCollection();
    if (map) {
      document.title = "Map – geosim";
      await openMap(navigate, signal);
    } else {
      signal.throwIfAborted();
      await search(query, options, signal);
      if (focus && query) focusResults();
    }
  } catch (error) {
    if (!isAbort(error)) fail(/** @type {Error} */ (error), map);
  }
}

/** @param {boolean} map */
function showView(map) {
  $("map-view").hidden = !map;
  $("search-view").hidden = map;
  $("to-map").ariaCurrent = map ? "page" : null;
  $("to-search").ariaCurrent = map ? null : "page";
  document.body.classList.toggle("map-page", map);
}

// Searches

/**
 * @param {Query | null} query
 * @param {Options} options
 * @param {AbortSignal} signal
 */
async function search(query, options, signal) {
  busy("Searching …");
  if (query) showAnswer(await fetchAnswer(query, options, signal), query, options);
  else await showStart(options, signal);
}

/**
 * @param {Query} query
 * @param {Options} options
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
function fetchAnswer(query, options, signal) {
  if (query.kind === "embedding") {
    return api(`/api/search?${parameters(options, uploadParameters(query))}`, { signal });
  }
  if (query.kind === "point") {
    const id = encodeURIComponent(query.id);
    return api(`/api/points/${id}/similar?${parameters(options)}`, { signal });
  }
  const [positive, negative] = [query.positive.map(parseKey), query.negative.map(parseKey)];
  const chosen = Object.fromEntries(parameters(options));
  return post("/api/recommend", { positive, negative, ...chosen }, signal);
}

/**
 * @param {Answer} answer
 * @param {Query} query
 * @param {Options} options
 */
function showAnswer(answer, query, options) {
  const { hits, explanation, positive, negative } = answer;
  if (query.kind === "embedding") showUploadedQuery(query);
  else if (answer.query) showStoredQuery(answer.query);
  else {
    showExamplesQuery(positive, negative);
    setExamples(positive, negative);
  }
  const uploads = [query, ...positive, ...negative].some((image) => "embedding" in image);
  $("share-note").hidden = !uploads;
  $("query-title").textContent = QUERY_TITLES[query.kind];
  showHits(hits, options, answer.query?.class ?? null);
  const summary = showExplanation(explanation, query.kind);
  document.title = `${answer.query?.path ?? QUERY_TITLES[query.kind]} – geosim`;
  $("results-title").textContent = hits.length ? "Most similar images" : "No hits";
  const none = "No image fits: lower the score, or allow another class.";
  done(hits.length ? quantity(hits.length, "hit") : none, summary);
}

/**
 * Show one image of each class to start from.
 * @param {Options} options
 * @param {AbortSignal} signal
 */
async function showStart(options, signal) {
  clearQuery();
  const path = `/api/search?embedding=${randomEmbedding()}&one_per=class&k=60`;
  /** @type {Answer} */
  const { hits } = await api(path, { signal });
  hits.sort((a, b) => (a.class < b.class ? -1 : 1));
  showSuggestions(hits, options);
  $("results-title").textContent = "Or start from an image of the collection";
  done("One of each class, other ones each time.");
}

function clearQuery() {
  document.title = "geosim";
  showQuery();
  $("share-note").hidden = true;
  $("explanation").hidden = true;
  $("query-title").textContent = "Which rocks look like this one?";
}

/**
 * Search by files: one is the query, several are positive examples.
 * @param {File[]} files
 */
async function upload(files) {
  if (readAddress(location).map) await navigate("/");
  const { options } = readAddress(location);
  const signal = restart();
  uploading = files;
  try {
    const limits = await loadCollection();
    warn("");
    if (files.length > 1) await uploadExamples(files, options, limits, signal);
    else await uploadQuery(files[0], options, limits, signal);
  } catch (error) {
    if (isAbort(error)) return;
    done("");
    warn(/** @type {Error} */ (error).message);
  } finally {
    if (!signal.aborted) uploading = [];
  }
}

/**
 * @param {File} file
 * @param {Options} options
 * @param {Collection} limits
 * @param {AbortSignal} signal
 */
async function uploadQuery(file, options, limits, signal) {
  busy("Searching …");
  const answer = await searchByFile(file, options, limits.upload_bytes, signal);
  const { embedding, sha256, model } = answer;
  /** @type {Query} */
  const query = { kind: "embedding", embedding, sha256, model };
  history.pushState(null, "", address(query, options));
  showAnswer(answer, query, options);
  focusResults();
}

/**
 * @param {File[]} files
 * @param {Options} options
 * @param {Collection} limits
 * @param {AbortSignal} signal
 */
async function uploadExamples(files, options, limits, signal) {
  if (files.length > limits.examples) {
    throw new Error(`These are ${files.length} pictures; at most ${limits.examples} are taken.`);
  }
  /** @type {Set<string>} */
  const keys = new Set();
  for (const [i, file] of files.entries()) {
    busy(`Reading picture ${i + 1} of ${files.length} …`);
    keys.add(imageKey(await searchByFile(file, { k: "1" }, limits.upload_bytes, signal)));
  }
  await navigate(address({ kind: "examples", positive: [...keys], negative: [] }, options));
}

/**
 * @param {Error} error
 * @param {boolean} map
 */
function fail(error, map) {
  if (map) {
    $("map-status").textContent = error.message;
    return;
  }
  $("hits").replaceChildren();
  clearQuery();
  $("results-title").textContent = "There is no answer";
  done("");
  warn(error.message);
}

/** Scroll to the query, which is above the hits on a phone; move the keyboard to the hits. */
function focusResults() {
  scrollTo(0, 0);
  $("results").focus({ preventScroll: true });
}

// Events

/** @param {Options} options */
function changeOptions(options) {
  history.pushState(null, "", address(readAddress(location).query, options));
  updateLinks(options);
  if (uploading.length) upload(uploading);
  else show();
}

/** @param {MouseEvent} event */
function followLink(event) {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
  if (!(link instanceof HTMLAnchorElement) || modified || event.defaultPrevented) return;
  const url = new URL(link.href);
  if (link.classList.contains("skip")) {
    event.preventDefault();
    $(readAddress(location).map ? "map" : "results").focus();
  } else if (url.origin === location.origin && ["/", "/map"].includes(url.pathname)) {
    event.preventDefault();
    navigate(url);
  }
}

listenForOptions(changeOptions);
setOnSearch((positive, negative) => {
  navigate(address({ kind: "examples", positive, negative }, readAddress(location).options));
});
listenForFiles(upload, warn);
if (matchMedia("(max-width: 56rem)").matches) $("filters", HTMLDetailsElement).open = false;
addEventListener("popstate", () => show());
document.addEventListener("click", followLink);
show();
