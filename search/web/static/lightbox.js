// The lightbox: looks closely at a hit or the query, alone or beside another picture.

import { api } from "./api.js";
import { classLabel } from "./colours.js";
import { boxOf } from "./crop.js";
import { $, path, span } from "./dom.js";
import { followKey, isModified } from "./gestures.js";
import { focusItem, shownItems } from "./hits.js";
import { imageName, uploadedSource } from "./image.js";
import { shownFields } from "./results.js";
import { address, readAddress } from "./state.js";
import { viewOf } from "./upload.js";
import { BASE_SIDE, Zoom } from "./zoom.js";


let entries = /** @type {Entry[]} the query, then the hits */ ([]);
let current = /** @type {Entry | null} */ (null);
let left = /** @type {Entry | null} what is compared with, or null */ (null);
let openedAt = ""; // the address whose hits these are; empty before the first is opened
const pictures = /** @type {Map<Entry, Picture>} */ (new Map());

const dialog = $("look", HTMLDialogElement);
const scale = $("look-scale");
const stage = $("stage");
const zoom = new Zoom(stage, (now) => { scale.textContent = `${Math.round(100 * now)} %`; }, step);
const previous = $("look-previous", HTMLButtonElement);
const next = $("look-next", HTMLButtonElement);
const toCompare = $("look-compare", HTMLButtonElement);
const blend = $("look-blend");
const slider = $("look-opacity", HTMLInputElement);
const from = $("look-from", HTMLAnchorElement);

/** Offer the query and the hits of an answer. @param {Item[]} hits
 * @param {Image | null} [query] @param {Box | null} [box] the part that was searched by */
export function offer(hits, query = null, box = null) {
  pictures.forEach(({ src }) => { if (src.startsWith("blob:")) URL.revokeObjectURL(src); });
  pictures.clear();
  entries = hits.flatMap(entriesOf);
  const isShown = query && ("id" in query || viewOf(query) || uploadedSource(query));
  if (isShown) entries.unshift({ image: query, box, isQuery: true });
}

/** Offer further hits. @param {Item[]} hits */
export const extend = (hits) => { entries.push(...hits.flatMap(entriesOf)); };

/** @param {Item} hit @returns {Entry[]} */
function entriesOf(hit) {
  const others = "specimen" in hit && hit.specimen ? hit.specimen.best.slice(1) : [];
  return [hit, ...others].map((image) =>
    ({ image, box: "box" in image && image.box ? boxOf(image.box) : null }));
}

/** Close the lightbox, because there will be other hits. */
export function closeLightbox() {
  if (history.state?.look) history.replaceState(null, ""); // so that closing does not go back
  openedAt = "";
  dialog.close();
}

/** Open or close the lightbox as the history says. Return whether the page stays the same.
 * @param {{ look?: boolean } | null} state */
export function followHistory(state) {
  if (location.href !== openedAt) return false;
  if (!state?.look) dialog.close();
  else if (current && !dialog.open) open(current);
  return true;
}

/** @param {Entry} entry */
function open(entry) {
  openedAt = location.href;
  left = null;
  show(entry);
  dialog.showModal();
  zoom.fit(); // it has a size now
}

/** @param {Entry} entry */
function show(entry) {
  current = entry;
  const { image } = entry;
  zoom.show((left ? [left, entry] : [entry]).map(pictureOf));
  $("look-title").replaceChildren(path(imageName(image)));
  $("look-caption").replaceChildren(...captionOf(entry));
  $("look-other").replaceChildren(...(left ? ["Compared with ", path(imageName(left.image)), ...captionOf(left)] : []));
  const i = entries.indexOf(entry);
  [previous.disabled, next.disabled] = [i === 0, i === entries.length - 1];
  toCompare.disabled = entries.length < 2;
  toCompare.ariaPressed = `${left !== null}`;
  $("look-comparing").hidden = left === null;
  slider.hidden = !stage.classList.toggle("blend", left !== null && blend.ariaPressed === "true");
  from.hidden = !("id" in image) || entry.isQuery === true;
  if ("id" in image) from.href = address({ kind: "point", id: image.id }, readAddress(location).options);
}

/** @param {Entry} entry @returns {Node[]} */
function captionOf({ image, isQuery }) {
  const rank = isQuery ? span("rank-query", "Query") : null;
  if (!("id" in image)) return rank ? [rank] : [];
  const number = "rank" in image ? span("rank", `${image.rank}`) : null;
  const score = "score" in image ? `score ${/** @type {Hit} */ (image).score.toFixed(4)}` : "";
  const facts = { ...image.facts, ...("shown" in image ? /** @type {Hit} */ (image).shown : {}) };
  return [rank, number, span("number", score), classLabel(image.class), shownFields(facts)]
    .filter((one) => one !== null);
}

/** Return what is shown of an entry. @param {Entry} entry */
function pictureOf(entry) {
  const { image, box } = entry;
  const known = pictures.get(entry);
  if (known) return known;
  const picture = /** @type {Picture} */ ({ src: "", name: imageName(image), box });
  pictures.set(entry, picture);
  if ("id" in image) {
    picture.src = `${image.picture}?side=${BASE_SIDE}`;
    /** @type {Promise<{ width: number, height: number }>} */
    const request = api(`/api/points/${image.id}`);
    request.then(({ width, height }) => {
      Object.assign(picture, { width, height, region: `${image.picture}/region` });
      zoom.draw();
    }).catch(() => {}); // it is shown as it is
  } else {
    const file = viewOf(image);
    picture.src = file ? URL.createObjectURL(file) : uploadedSource(image) ?? "";
  }
  return picture;
}

/** @param {number} by */
function step(by) {
  const entry = current && entries[entries.indexOf(current) + by];
  if (entry) show(entry);
}

/** Compare with the query, or with the picture that is shown; or end that. */
function compare() {
  if (left && current) {
    left = null;
    show(current);
  } else compareWith(entries[0].isQuery ? entries[0] : current);
}

/** Compare with a picture, which gives way to the next one. @param {Entry | null} entry */
function compareWith(entry) {
  left = entry;
  if (left !== current && current) show(current);
  else if (current === entries.at(-1)) step(-1);
  else step(1);
}

blend.onclick = () => {
  blend.ariaPressed = `${blend.ariaPressed !== "true"}`;
  if (current) show(current);
};
slider.oninput = () => stage.style.setProperty("--blend", slider.value);
toCompare.onclick = compare;
previous.onclick = () => step(-1);
next.onclick = () => step(1);
$("look-hold").onclick = () => compareWith(current);
$("look-out").onclick = () => zoom.by(1 / 1.5);
$("look-in").onclick = () => zoom.by(1.5);
$("look-all").onclick = () => zoom.fit();
$("look-close").onclick = () => dialog.close();
dialog.onclose = () => {
  if (dialog.open) return; // the history opened it again before this event came
  zoom.show([]);
  if (history.state?.look) history.back();
  const { image, isQuery } = current ?? {};
  const key = isQuery ? "query" : image && "id" in image ? image.id : "";
  const opener = document.querySelector(`[data-look="${CSS.escape(key)}"]`);
  if (opener instanceof HTMLElement) opener.focus();
  else focusItem(shownItems().findIndex(({ id }) => id === key)); // it is not in the document now
};
dialog.onkeydown = (event) => {
  if (isModified(event) || event.target === slider) return;
  const isZoomed = zoom.zoom > 1;
  const pages = /** @type {Record<string, number>} */ (
    { PageUp: -1, PageDown: 1, ...(isZoomed ? {} : { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }) });
  if (event.key in pages) {
    event.preventDefault();
    step(pages[event.key]);
  } else followKey(event, { zoom: (by) => zoom.by(by), move: (x, y) => zoom.move(x, y), fit: () => zoom.fit() });
};
document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest("[data-look]") : null;
  const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
  if (!(target instanceof HTMLElement) || modified) return;
  const { look } = target.dataset;
  const entry = entries.find(({ image, isQuery }) =>
    look === "query" ? isQuery : !isQuery && "id" in image && image.id === look);
  if (!entry) return;
  event.preventDefault();
  history.pushState({ look: true }, "");
  open(entry);
});
