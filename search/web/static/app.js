// The page: an address becomes a search, a search becomes what is shown.

import { api, post } from "./api.js";
import { know } from "./colours.js";
import { $, count, el, plural } from "./dom.js";
import { openMap } from "./map.js";
import {
  relink, setPictures, showExplanation, showHits, showQuery, storedPicture, uploadedPicture,
} from "./results.js";
import { WISHES, address, anywhere, example, keyOf, named, parameters, read } from "./state.js";
import { fill, onSearch } from "./tray.js";
import { arrivals, send } from "./upload.js";

let collection = null;
let asking = null;
let running = new AbortController();
let sending = []; // files on their way up

// Navigation

function go(url) {
  history.pushState(null, "", url);
  return show({ focus: true });
}

async function show({ focus = false } = {}) {
  running.abort();
  running = new AbortController();
  sending = [];
  const { signal } = running;
  const { map, query, wishes } = read(location);
  $("map-view").hidden = !map;
  $("search-view").hidden = map;
  for (const [id, current] of [["to-map", map], ["to-search", !map]]) {
    if (current) $(id).setAttribute("aria-current", "page");
    else $(id).removeAttribute("aria-current");
  }
  document.body.classList.toggle("mapped", map);
  warn("");
  if (!map) fillForm(wishes); // before anything is waited for: what is typed meanwhile stays
  try {
    await known();
    if (map) {
      document.title = "Map – geosim";
      await openMap(go, signal);
    } else {
      signal.throwIfAborted();
      await search(query, wishes, signal);
      if (focus && query) toTop();
    }
  } catch (error) {
    if (error.name !== "AbortError") fail(error, map);
  }
}

function known() {
  asking ??= ask().catch((error) => {
    asking = null;
    throw error;
  });
  return asking;
}

async function ask() {
  collection = await api("/api/collection");
  know(collection.classes.map((one) => one.name));
  $("summary").textContent =
    `${plural(collection.points, "image")}, ${plural(collection.classes.length, "class", "classes")}`;
  const select = $("wishes").elements.class;
  const options = collection.classes.map((one) =>
    el("option", { value: one.name }, `${one.name} (${count(one.count)})`));
  select.replaceChildren(select.options[0], ...options);
  choose(read(location).wishes.class);
}

// Searches

async function search(query, wishes, signal) {
  busy("Searching …");
  if (!query) return welcome(wishes, signal);
  let answer;
  if (query.kind === "embedding") {
    answer = await api(`/api/search?${parameters(wishes, named(query))}`, { signal });
  } else if (query.kind === "point") {
    const id = encodeURIComponent(query.id);
    answer = await api(`/api/points/${id}/similar?${parameters(wishes)}`, { signal });
  } else {
    const [positive, negative] = [query.positive.map(example), query.negative.map(example)];
    const chosen = Object.fromEntries(parameters(wishes));
    answer = await post("/api/recommend", { positive, negative, ...chosen }, signal);
  }
  return render(answer, query, wishes);
}

function render(answer, query, wishes) {
  const parts = {
    embedding: () => uploadedPicture(query),
    point: () => storedPicture(answer.query),
    set: () => setPictures(answer.positive, answer.negative),
  };
  showQuery(parts[query.kind]());
  if (query.kind === "set") fill(answer.positive, answer.negative);
  $("kept").hidden = ![query, ...answer.positive, ...answer.negative].some((one) => one.embedding);
  $("query-title").textContent = {
    embedding: "Your picture", point: "From the collection", set: "Several examples",
  }[query.kind];
  showHits(answer.hits, { wishes, own: answer.query?.class ?? null });
  const told = showExplanation(answer.explanation, query.kind);
  const found = plural(answer.hits.length, "hit");
  document.title = `${answer.query?.path ?? $("query-title").textContent} – geosim`;
  $("results-title").textContent = answer.hits.length ? "Most similar images" : "No hits";
  const none = "No image fits: lower the score, or allow another class.";
  done(answer.hits.length ? found : none, told);
}

function blank() {
  document.title = "geosim";
  showQuery([]);
  $("kept").hidden = $("explanation").hidden = true;
  $("query-title").textContent = "Which rocks look like this one?";
}

async function welcome(wishes, signal) {
  blank();
  const some = `/api/search?embedding=${anywhere()}&one_per=class&k=60`;
  const { hits } = await api(some, { signal });
  hits.sort((a, b) => (a.class < b.class ? -1 : 1));
  showHits(hits, { wishes, judged: false });
  $("results-title").textContent = "Or start from an image of the collection";
  done("One of each class, other ones each time.");
}

// One picture is searched by; several at once are examples of what is looked for.
async function upload(files) {
  if (read(location).map) await go("/");
  const { wishes } = read(location);
  running.abort();
  running = new AbortController();
  const { signal } = running;
  sending = files;
  try {
    await known();
    warn("");
    await (files.length > 1 ? several(files, wishes, signal) : single(files[0], wishes, signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    done("");
    warn(error.message);
  } finally {
    if (!signal.aborted) sending = [];
  }
}

async function single(file, wishes, signal) {
  busy("Searching …");
  const answer = await send(file, wishes, collection.upload_bytes, signal);
  const { embedding, sha256, model } = answer;
  const query = { kind: "embedding", embedding, sha256, model };
  history.pushState(null, "", address(query, wishes));
  render(answer, query, wishes);
  toTop();
}

async function several(files, wishes, signal) {
  if (files.length > collection.examples) {
    throw new Error(`These are ${files.length} pictures; at most ${collection.examples} are taken.`);
  }
  const positive = new Set();
  for (const [at, file] of files.entries()) {
    busy(`Reading picture ${at + 1} of ${files.length} …`);
    positive.add(keyOf(await send(file, { k: "1" }, collection.upload_bytes, signal)));
  }
  await go(address({ kind: "set", positive: [...positive], negative: [] }, wishes));
}

// What goes on

function busy(text) {
  $("results").setAttribute("aria-busy", "true");
  $("status").textContent = text;
}

function done(text, more = "") {
  $("results").removeAttribute("aria-busy");
  $("status").replaceChildren(text, el("span", { class: "unseen" }, ` ${more}`));
}

function warn(text) {
  $("notice").hidden = text === "";
  $("notice").textContent = text;
}

function fail(error, map) {
  if (map) {
    $("map-status").textContent = error.message;
    return;
  }
  $("hits").replaceChildren();
  blank();
  $("results-title").textContent = "There is no answer";
  done("");
  warn(error.message);
}

// To the query and its class, which stand above the hits on a phone; the keyboard goes to the hits.
function toTop() {
  scrollTo(0, 0);
  $("results").focus({ preventScroll: true });
}

// The form

function fillForm(wishes) {
  for (const name of WISHES) {
    if (name === "class") choose(wishes.class);
    else $("wishes").elements[name].value = wishes[name];
    if (wishes[name] !== "") $("filters").open = true;
  }
}

// A class that the collection lacks can come from the address.
function choose(name) {
  const select = $("wishes").elements.class;
  if (![...select.options].some((option) => option.value === name)) {
    select.append(el("option", { value: name }, name));
  }
  select.value = name;
}

function wish(event) {
  event.preventDefault();
  const form = $("wishes");
  if (!form.reportValidity()) return;
  const wishes = Object.fromEntries(WISHES.map((name) => [name, form.elements[name].value]));
  history.pushState(null, "", address(read(location).query, wishes));
  relink(wishes);
  if (sending.length) upload(sending); // with these wishes
  else show();
}

$("wishes").addEventListener("change", wish);
$("wishes").addEventListener("submit", wish);
onSearch((positive, negative) => go(address({ kind: "set", positive, negative }, read(location).wishes)));
arrivals(upload, warn);
if (matchMedia("(max-width: 56rem)").matches) $("filters").open = false;
addEventListener("popstate", () => show());
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (!link || !plain || event.defaultPrevented) return;
  const url = new URL(link.href);
  if (link.classList.contains("skip")) {
    event.preventDefault();
    $(read(location).map ? "map" : "results").focus();
  } else if (url.origin === location.origin && ["/", "/map"].includes(url.pathname)) {
    event.preventDefault();
    go(url);
  }
});
show();
