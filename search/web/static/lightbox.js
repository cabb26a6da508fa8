// The lightbox: looks closely at a hit or the query, alone or beside another picture.

import { api } from "./api.js";
import { classLabel } from "./colours.js";
import { boxOf } from "./crop.js";
import { el, path, span } from "./dom.js";
import { focusItem, shownItems } from "./hits.js";
import { imageName, uploadedSource } from "./image.js";
import { shownFields } from "./results.js";
import { address, readAddress } from "./state.js";
import { viewOf } from "./upload.js";
import { BASE_SIDE, Zoom } from "./zoom.js";

const KEY_STEP = 80; // CSS pixels that an arrow key moves a picture that is zoomed
const KEY_ZOOM = 1.5;

let entries = /** @type {Entry[]} the query, then the hits */ ([]);
let current = /** @type {Entry | null} */ (null);
let left = /** @type {Entry | null} what is compared with, or null */ (null);
let openedAt = ""; // the address whose hits these are; empty before the first is opened
const pictures = /** @type {Map<Entry, Picture>} */ (new Map());

/** @param {string} label @param {string} text @param {() => void} onclick */
const button = (label, text, onclick) =>
  el("button", { type: "button", title: label, "aria-label": label, onclick }, text);

const title = el("h2", { id: "look-title" });
const scale = el("output", { "aria-label": "Zoom" });
const stage = el("div", {
  class: "stage", tabindex: "0", role: "application", autofocus: true,
  "aria-label": "Picture", "aria-describedby": "look-help",
});
const zoom = new Zoom(stage, (now) => { scale.textContent = `${Math.round(100 * now)} %`; }, step);
const previous = button("Previous picture", "‹", () => step(-1));
const next = button("Next picture", "›", () => step(1));
const toCompare = el("button", { type: "button", "aria-pressed": "false", onclick: compare }, "Compare");
const blend = el("button", { type: "button", "aria-pressed": "false", onclick: toggleBlend }, "Overlay");
const slider = el("input", { type: "range", min: "0", max: "1", step: "any", value: "0.5",
  "aria-label": "Opacity of the picture on top" });
const hold = el("button", { type: "button", onclick: () => compareWith(current) }, "Keep this one");
const other = el("p", { class: "look-other" });
const comparing = el("div", { class: "look-bar" }, blend, slider, hold, other);
const caption = el("div", { class: "look-caption", "aria-live": "polite" });
const from = el("a", { class: "button primary", href: "/" }, "Search from this");
const dialog = el("dialog", { class: "look", "aria-labelledby": "look-title" },
  el("div", { class: "look-bar" }, title,
    span("look-buttons", button("Zoom out", "−", () => zoom.by(1 / KEY_ZOOM)), scale,
      button("Zoom in", "+", () => zoom.by(KEY_ZOOM)), button("Show all", "all", () => zoom.fit()),
      previous, next, toCompare, button("Close", "×", () => dialog.close()))),
  stage, comparing, el("div", { class: "look-bar" }, caption, from),
  el("p", { id: "look-help", class: "visually-hidden" },
    "Plus and minus zoom, 0 shows all. Arrow keys move a picture that is zoomed, otherwise they " +
    "lead to the previous and the next one, as Page Up and Page Down do. Escape closes."));
document.body.append(dialog);

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
  title.replaceChildren(path(imageName(image)));
  caption.replaceChildren(...captionOf(entry));
  other.replaceChildren(...(left ? ["Compared with ", path(imageName(left.image)), ...captionOf(left)] : []));
  const i = entries.indexOf(entry);
  [previous.disabled, next.disabled] = [i === 0, i === entries.length - 1];
  toCompare.disabled = entries.length < 2;
  toCompare.ariaPressed = `${left !== null}`;
  comparing.hidden = left === null;
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

function toggleBlend() {
  blend.ariaPressed = `${blend.ariaPressed !== "true"}`;
  if (current) show(current);
}

slider.oninput = () => stage.style.setProperty("--blend", slider.value);
dialog.onclose = () => {
  zoom.show([]);
  if (history.state?.look) history.back();
  const { image, isQuery } = current ?? {};
  const key = isQuery ? "query" : image && "id" in image ? image.id : "";
  const opener = document.querySelector(`[data-look="${CSS.escape(key)}"]`);
  if (opener instanceof HTMLElement) opener.focus();
  else focusItem(shownItems().findIndex(({ id }) => id === key)); // it is not in the document now
};
dialog.onkeydown = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === slider) return;
  const isZoomed = zoom.zoom > 1;
  /** @type {(by: number, x: number, y: number) => void} */
  const go = (by, x, y) => isZoomed ? zoom.move(x * KEY_STEP, y * KEY_STEP) : step(by);
  /** @type {Record<string, () => void>} */
  const actions = {
    "+": () => zoom.by(KEY_ZOOM), "=": () => zoom.by(KEY_ZOOM), "-": () => zoom.by(1 / KEY_ZOOM),
    0: () => zoom.fit(), PageUp: () => step(-1), PageDown: () => step(1),
    ArrowLeft: () => go(-1, 1, 0), ArrowRight: () => go(1, -1, 0),
    ArrowUp: () => go(0, 0, 1), ArrowDown: () => go(0, 0, -1),
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
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
