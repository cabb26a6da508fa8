// The list of hits. Of many, only those near the window are in the document: the others are gaps
// of their height. A chunk is a few lines; one that has the keyboard's focus stays.

import { $, el } from "./dom.js";

/** @import { Hit, Listed } from "./api.js" */
/** @typedef {Hit | Listed} Item */
/** @typedef {{ nodes: HTMLElement[], height: number, drawn: boolean }} Chunk with its gap below */
const MOST_WHOLE = 60; // items that are all in the document
const LINES = 2; // of a chunk

const list = $("hits", HTMLOListElement);
let items = /** @type {Item[]} */ ([]);
let chunks = /** @type {Chunk[]} */ ([]);
let size = 1; // items of a chunk
let draw = /** @type {(item: any) => HTMLElement} */ (() => el("li"));
let waiting = false;

/** The items of the list, in its order. */
export const shownItems = () => items;

/** Show items, each as what `create` returns. @template {Item} T
 * @param {T[]} shown @param {(item: T) => HTMLElement} create */
export function showItems(shown, create) {
  items = [...shown];
  draw = create;
  chunks = [];
  arrange();
}

/** Add the items that are not in the list, and move the keyboard to the first of them.
 * @param {Item[]} more */
export function addItems(more) {
  const known = new Set(items.map(({ id }) => id));
  const first = items.length;
  items.push(...more.filter(({ id }) => !known.has(id)));
  arrange();
  focusItem(first);
}

/** Bring an item into view and move the keyboard to it. @param {number} index */
export function focusItem(index) {
  const chunk = chunks[Math.floor(index / size)];
  if (!chunk || index >= items.length) return;
  if (!chunk.drawn) fill(chunk);
  const card = chunk.nodes[index % size];
  card.scrollIntoView({ block: "nearest" });
  card.querySelector("a")?.focus({ preventScroll: true });
}

/** Part the items into chunks, and draw what is in view. */
function arrange() {
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const height = chunks.find(({ drawn }) => drawn)?.height ?? 0;
  size = columns * LINES;
  const whole = items.length <= MOST_WHOLE;
  chunks = [];
  for (let at = 0; at < items.length; at += size) {
    chunks.push({ nodes: [whole ? el("li") : gap(height)], height, drawn: false });
  }
  list.replaceChildren(...chunks.flatMap(({ nodes }) => nodes));
  if (whole) chunks.forEach(fill);
  else update();
}

/** @param {number} height */
function gap(height) {
  const element = el("li", { class: "gap", "aria-hidden": "true" });
  element.style.height = `${height - rowGap()}px`;
  return element;
}

const rowGap = () => Number.parseFloat(getComputedStyle(list).rowGap) || 0;

/** Draw the cards of a chunk. @param {Chunk} chunk */
function fill(chunk) {
  const at = chunks.indexOf(chunk) * size;
  const cards = items.slice(at, at + size).map((item, i) => {
    const card = draw(item);
    card.setAttribute("aria-setsize", `${items.length}`);
    card.setAttribute("aria-posinset", `${at + i + 1}`);
    return card;
  });
  swap(chunk, cards);
  chunk.drawn = true;
}

/** @param {Chunk} chunk @param {HTMLElement[]} nodes */
function swap(chunk, nodes) {
  const [first, ...others] = chunk.nodes;
  for (const other of others) other.remove();
  first.replaceWith(...nodes);
  chunk.nodes = nodes;
}

/** Draw what is in view or near it; make gaps of the rest. */
function update() {
  waiting = false;
  if (items.length <= MOST_WHOLE || list.offsetParent === null) return;
  if (!chunks.some(({ drawn }) => drawn)) { // how high a chunk is
    fill(chunks[0]);
    const height = measure(chunks[0]);
    for (const chunk of chunks) chunk.height = height;
    for (const { nodes, drawn } of chunks) if (!drawn) nodes[0].style.height = `${height - rowGap()}px`;
  }
  let top = list.getBoundingClientRect().top;
  const near = chunks.map((chunk) => {
    const above = top + chunk.height < -innerHeight;
    top += chunk.height;
    return !above && top - chunk.height < 2 * innerHeight;
  });
  const measured = chunks.filter(({ drawn }) => drawn).map((chunk) => /** @type {const} */ (
    [chunk, measure(chunk)])); // before anything is changed
  for (const [chunk, height] of measured) chunk.height = height;
  chunks.forEach((chunk, i) => {
    if (near[i] && !chunk.drawn) fill(chunk);
    const focused = chunk.nodes.some((node) => node.contains(document.activeElement));
    if (near[i] || !chunk.drawn || focused) return;
    swap(chunk, [gap(chunk.height)]);
    chunk.drawn = false;
  });
}

/** Return the height of a chunk that is drawn. @param {Chunk} chunk */
function measure({ nodes }) {
  const last = nodes[nodes.length - 1];
  return last.offsetTop + last.offsetHeight - nodes[0].offsetTop + rowGap();
}

function soon() {
  if (!waiting) requestAnimationFrame(update);
  waiting = true;
}

addEventListener("scroll", soon, { passive: true });
list.addEventListener("focusin", soon);
let width = 0;
new ResizeObserver(() => {
  if (list.clientWidth === width || items.length <= MOST_WHOLE) return;
  width = list.clientWidth;
  if (width) arrange();
}).observe(list);
