// The page: reads the address, searches, and shows the answer.

import { api, isFault, logout, Refusal } from "./api.js";
import { registerClasses } from "./colours.js";
import { boxOf, cropText, parseCrop } from "./crop.js";
import { $, clicked, count, quantity, reasonOf, safe, span } from "./dom.js";
import { showFacets } from "./facets.js";
import { imageName, rememberPart, wholeOf } from "./image.js";
import { closeLightbox, followHistory, offer } from "./lightbox.js";
import { openMap } from "./map.js";
import { offerMarks } from "./marks.js";
import { rememberSearch } from "./memory.js";
import { fetchAnswer, findStart, moreHits, offerMore } from "./more.js";
import { clearFault, fillOptions, listenForOptions, offerFields, readOptions, showFault } from "./options.js";
import * as results from "./results.js";
import { address, imageKey, mapAddress, readAddress } from "./state.js";
import { offerTaking } from "./take.js";
import { setExamples, setOnSearch } from "./tray.js";
import { fileOf, listenForFiles, searchByFiles, showUpload } from "./upload.js";

const QUERY_TITLES = {
  embedding: "Your picture", point: "From the collection", examples: "Several examples",
};
const PART_TITLES = { embedding: "Part of your picture", point: "Part, from the collection" };

let current = new AbortController(); // of the current search, aborted by the next one
let uploading = /** @type {Parameters<UploadFiles> | null} */ (null);
let collection = /** @type {Collection | null} */ (null);

/** @param {string | URL} url */
function navigate(url) {
  history[history.state?.look ? "replaceState" : "pushState"](null, "", url);
  return show({ focus: true });
}

/** Return the signal of a new search. */
function restart() {
  current.abort();
  closeLightbox();
  showUpload(null);
  uploading = null;
  current = new AbortController();
  return current.signal;
}

async function show({ focus = false } = {}) {
  const signal = restart();
  const { map, query, options } = readAddress(location);
  $("map-view").hidden = !map;
  $("search-view").hidden = map;
  $("to-map").href = mapAddress(query, options);
  $("to-search").href = map ? address(query, options) : "/";
  $("to-map").ariaCurrent = map ? "page" : null;
  $("to-search").ariaCurrent = map ? null : "page";
  document.body.classList.toggle("map-page", map);
  warn("");
  if (!map) fillOptions(options); // before any wait, so that it replaces nothing that is typed
  try {
    const { examples } = await loadCollection();
    signal.throwIfAborted();
    if (map) {
      document.title = "Map – geosim";
      return await openMap({ query, options, examples, search: fetchAnswer, navigate }, signal);
    }
    setStatus("Searching …", { busy: true });
    showFacets(options.where ?? "");
    if (query) showAnswer(await fetchAnswer(query, options, signal), query, options);
    else await showStart(options, signal);
    if (focus && query) focusResults();
  } catch (error) {
    if (signal.aborted) return;
    const message = reasonOf(error);
    if (map) $("map-status").textContent = message;
    else if (!refuseExpression(error)) {
      fail(error instanceof Refusal ? `The address of this page is refused: ${message}. `
        + "Change it, choose a picture, or start anew by Search." : message);
    }
  }
}

/** Return the collection, which is requested and shown once. */
async function loadCollection() {
  if (collection) return collection;
  const found = await api("/api/collection");
  const { points, classes, without_class: unlabelled, key } = found;
  registerClasses(classes.map(({ name }) => name));
  offerFields(found);
  $("facets").hidden = points === 0;
  $("logout").hidden = !key;
  const classCount = classes.length ? quantity(classes.length, "class", "classes") : "no classes";
  const without = classes.length && unlabelled ? `, ${count(unlabelled)} without one` : "";
  $("summary").textContent = `${quantity(points, "image")}, ${classCount}${without}`;
  collection = found;
  return found;
}

/** @param {Event} event */
function changeOptions(event) {
  event.preventDefault();
  const options = readOptions();
  if (!options) return;
  const { query } = readAddress(location);
  if (options.together_by && query?.kind === "point") query.crop = "";
  const url = address(query, options);
  if (event.type === "change" && url === location.pathname + location.search) return;
  history.pushState(null, "", url);
  results.updateLinks(options);
  if (uploading) upload(...uploading);
  else show();
}

/** Keep the hits if an expression fails. @param {unknown} error */
function refuseExpression(error) {
  if (!isFault(error)) return false;
  showFault(error.message, error.place);
  setStatus("The expression under Where cannot be read.");
  return true;
}

/** @type {ShowAnswer} */
function showAnswer(answer, query, options) {
  const { hits, explanation, positive, negative, query: indexed, sha256 } = answer;
  $("to-map").href = mapAddress(query, options);
  let title = QUERY_TITLES[query.kind];
  const image = query.kind === "embedding" ? query : indexed;
  const name = image ? imageName(image) : title;
  document.title = `${safe(indexed?.path ?? title)} – geosim`;
  if (image && query.kind !== "examples") {
    const part = partOf(answer, query);
    if (part.box) title = PART_TITLES[query.kind];
    offer(hits, image, part.box);
    results.showImageQuery(image, part.box ? rememberPart(image, answer) : image, part);
  } else {
    offer(hits);
    results.showExamplesQuery(answer);
    setExamples(answer);
  }
  $("query-title").textContent = title;
  $("share-note").hidden = ![query, ...positive, ...negative].some((one) => "embedding" in one);
  results.showHits(hits, options, indexed?.class ?? null);
  const summary = results.showExplanation(explanation, query.kind);
  const what = options.together_by ? "specimen" : "image";
  $("results-title").textContent = hits.length ? `Most similar ${what}s` : "No hits";
  const none = answer.note ? `No ${what} fits` : results.nothingFits(explanation, options);
  const found = quantity(hits.length, options.together_by ? "specimen" : "hit")
    + (options.one_per === "class" ? leftOut() : "")
    + (answer.approximate ? ", by Qdrant's index of many images" : "");
  setStatus((hits.length ? found : none) + (answer.note ? `; ${answer.note}` : ""), { summary });
  const uploaded = query.kind === "embedding"
    ? { embedding: query.embedding, sha256: query.sha256, model: query.model } : null;
  offerTaking({ query: indexed?.id, uploaded, name, sha256: sha256 ?? "", show: options.show });
  offerMarks(answer, name);
  offerMore(moreHits(answer, query, options));
  rememberSearch(location.pathname + location.search, name);
}

/** @type {PartOf} */
function partOf({ crop }, query) {
  /** @param {Query} changed */
  const go = (changed) => // specimens are whole
    navigate(address(changed, { ...readAddress(location).options, together_by: "" }));
  if (query.kind === "point") {
    return {
      box: crop && boxOf(crop),
      onDraw: (box) => go({ ...query, crop: cropText(box) }),
      onClear: () => go({ ...query, crop: "" }),
    };
  }
  const whole = wholeOf(query);
  const file = fileOf(whole);
  return {
    box: parseCrop(query.crop ?? ""),
    onDraw: whole && file && ((box) => upload([file], { crop: cropText(box), whole })),
    onClear: whole && (() => go({ kind: "embedding", ...whole })),
  };
}

function leftOut() {
  const unlabelled = collection?.without_class ?? 0;
  return unlabelled ? `; ${quantity(unlabelled, "image")} without a class left out` : "";
}

/** @param {Options} options @param {AbortSignal} signal */
async function showStart(options, signal) {
  showNoQuery();
  const start = await findStart(options, collection, signal);
  offer(start.images);
  results.showSuggestions(start.images, options);
  $("results-title").textContent = start.title;
  setStatus(start.status + (start.isOfClasses ? leftOut() : ""));
  offerTaking({ name: start.title, show: options.show });
  offerMore(start.next);
}

function showNoQuery() {
  document.title = "geosim";
  results.showQuery();
  for (const id of ["share-note", "explanation", "marked"]) $(id).hidden = true;
  $("query-title").textContent = "Which rocks look like this one?";
}

/** Search by a picture, a part of it, or several examples. @type {UploadFiles} */
async function upload(files, part = null) {
  if (readAddress(location).map) await navigate("/");
  const { options } = readAddress(location);
  if (part) options.together_by = ""; // specimens are whole
  const signal = restart();
  const several = files.length > 1;
  uploading = [files, part];
  try {
    const limits = await loadCollection();
    warn("");
    clearFault();
    if (several && files.length > limits.examples) {
      throw new Error(`These are ${files.length} pictures; at most ${limits.examples} are taken.`);
    }
    setStatus("Searching …", { busy: true });
    showUpload(() => {
      restart();
      setStatus("The upload was cancelled.");
    });
    const wanted = several ? { k: "1" } : options;
    const { answers, refused } =
      await searchByFiles(files, wanted, limits.upload_bytes, signal, part);
    if (answers.length === 0) throw new Error(refused.join("\n"));
    const { embedding, sha256, model, crop: box } = answers[0];
    if (several) {
      const positive = [...new Set(answers.map(imageKey))];
      await navigate(address(answers.length > 1 ? { kind: "examples", positive, negative: [] }
        : { kind: "embedding", embedding, sha256, model }, options));
      if (refused.length) warn(`Left out of the search:\n${refused.join("\n")}`);
      return;
    }
    const crop = box && part ? part.crop : "";
    const query = /** @type {const} */ ({ kind: "embedding", embedding, sha256, model, crop });
    history.pushState(null, "", address(query, options));
    showAnswer(answers[0], query, options);
    focusResults();
  } catch (error) {
    if (signal.aborted || refuseExpression(error)) return;
    setStatus("");
    warn(reasonOf(error));
  } finally {
    if (!signal.aborted) {
      uploading = null;
      showUpload(null);
    }
  }
}

/** @param {string} text */
function setStatus(text, { busy = false, summary = "" } = {}) {
  $("results").ariaBusy = busy ? "true" : null;
  $("status").replaceChildren(text, span("visually-hidden", ` ${summary}`));
}

/** @param {string} text of a notice; an empty one hides it */
const warn = (text) => { $("notice").textContent = text; };

/** @param {string} message */
function fail(message) {
  results.showSuggestions([], {});
  offerTaking({});
  offerMore(null);
  showNoQuery();
  $("results-title").textContent = "There is no answer";
  setStatus("");
  warn(message);
}

/** Scroll to the query; move the keyboard to the hits. */
function focusResults() {
  scrollTo(0, 0);
  $("query-title").scrollIntoView({ block: "nearest" });
  $("results").focus({ preventScroll: true });
}

listenForOptions(changeOptions);
setOnSearch((positive, negative) =>
  navigate(address({ kind: "examples", positive, negative }, readAddress(location).options)));
listenForFiles((files) => upload(files), warn);
addEventListener("popstate", ({ state }) => { if (!followHistory(state)) show(); });
$("logout").onclick = logout;
$("memory").ontoggle = () => $("memory").scrollIntoView({ block: "nearest" });
document.addEventListener("click", (event) => {
  const link = clicked(event, "a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented) return;
  const { origin, pathname } = link;
  const isSkip = link.classList.contains("skip");
  if (!isSkip && (origin !== location.origin || !["/", "/map"].includes(pathname))) return;
  event.preventDefault();
  if (isSkip) $(readAddress(location).map ? "map" : "results").focus();
  else navigate(link.href);
});
if (matchMedia("(max-width: 56rem)").matches) $("filters").open = false;
show();
