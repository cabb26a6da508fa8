// The list of hits. Of many, only those near the window are in the document, in chunks of a few
// lines; the others are gaps.

import { $, el } from "./dom.js";

const MOST_WHOLE = 60; // items that are all in the document
const LINES = 2; // of a chunk

const list = $("hits");
let items = /** @type {Item[]} */ ([]);
let chunks = /** @type {Chunk[]} */ ([]);
let size = 1; // items of a chunk
let draw = /** @type {(item: any) => HTMLElement} */ (() => el("li"));
let between = 0; // the gap below a line
let waiting = false;

export const shownItems = () => items;

/** @type {ShowItems} */
export function showItems(shown, create) {
  items = [...shown];
  draw = create;
  chunks = [];
  arrange();
}

/** Add and return the items that are new; move the keyboard to the first. @param {Item[]} more */
export function addItems(more) {
  const known = new Set(items.map(({ id }) => id));
  const first = items.length;
  const added = more.filter(({ id }) => !known.has(id));
  items.push(...added);
  arrange();
  focusItem(first);
  return added;
}

/** @param {number} index */
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
  const { gridTemplateColumns, rowGap } = getComputedStyle(list);
  between = Number.parseFloat(rowGap) || 0;
  size = gridTemplateColumns.split(" ").length * LINES;
  let height = chunks[0]?.height ?? 0; // of a list that was shown
  chunks = Array.from({ length: Math.ceil(items.length / size) }, () =>
    ({ nodes: [el("li")], height, drawn: false }));
  list.replaceChildren(...chunks.flatMap(({ nodes }) => nodes));
  if (items.length <= MOST_WHOLE) return chunks.forEach(fill);
  if (height === 0) {
    fill(chunks[0]);
    height = measure(chunks[0]);
  }
  for (const chunk of chunks) {
    chunk.height = height;
    if (!chunk.drawn) empty(chunk);
  }
  update();
}

/** @param {Chunk} chunk */
function empty(chunk) {
  const gap = el("li", { class: "gap", "aria-hidden": "true" });
  gap.style.height = `${chunk.height - between}px`;
  swap(chunk, [gap]);
  chunk.drawn = false;
}

/** @param {Chunk} chunk */
function fill(chunk) {
  const at = chunks.indexOf(chunk) * size;
  const cards = items.slice(at, at + size).map((item, i) => {
    const card = draw(item);
    card.ariaSetSize = `${items.length}`;
    card.ariaPosInSet = `${at + i + 1}`;
    return card;
  });
  swap(chunk, cards);
  chunk.drawn = true;
}

/** @param {Chunk} chunk @param {HTMLElement[]} nodes */
function swap(chunk, nodes) {
  const [first, ...others] = chunk.nodes;
  first.replaceWith(...nodes);
  for (const other of others) other.remove();
  chunk.nodes = nodes;
}

function update() {
  waiting = false;
  if (items.length <= MOST_WHOLE || list.offsetParent === null) return;
  let bottom = list.getBoundingClientRect().top;
  const near = chunks.map((chunk) => { // all is measured before anything is changed
    if (chunk.drawn) chunk.height = measure(chunk);
    bottom += chunk.height;
    return bottom > -innerHeight && bottom - chunk.height < 2 * innerHeight;
  });
  chunks.forEach((chunk, i) => {
    const focused = chunk.nodes.some((node) => node.matches(":focus-within"));
    if (near[i] && !chunk.drawn) fill(chunk);
    else if (!near[i] && chunk.drawn && !focused) empty(chunk);
  });
}

/** @param {Chunk} chunk that is drawn */
function measure({ nodes }) {
  const [first, last] = [nodes[0], nodes[nodes.length - 1]];
  return last.offsetTop + last.offsetHeight - first.offsetTop + between;
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
