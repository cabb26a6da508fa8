// The lightbox: looks closely at a hit or the query, alone or beside another picture.

import { api } from "./api.js";
import { classLabel } from "./colours.js";
import { boxOf } from "./crop.js";
import { $, clicked, path, span } from "./dom.js";
import { followKey, isModified } from "./gestures.js";
import { focusItem, shownItems } from "./hits.js";
import { imageName, uploadedSource } from "./image.js";
import { shownFields } from "./results.js";
import { address, readAddress } from "./state.js";
import { viewOf } from "./upload.js";
import { BASE_SIDE, Zoom } from "./zoom.js";

let entries = /** @type {Entry[]} the query, then the hits */ ([]);
let current = /** @type {Entry | null} */ (null);
let left = /** @type {Entry | null} what is compared with */ (null);
let openedAt = ""; // the address whose hits these are; empty before the first is opened

const dialog = $("look");
const stage = $("stage");
const toCompare = $("look-compare");
const blend = $("look-blend");
const slider = $("look-opacity");
const from = $("look-from");
const zoom = new Zoom(stage, step);

/** @type {Offer} */
export function offer(hits, query = null, box = null) {
  for (const { picture } of entries) if (picture?.src.startsWith("blob:")) URL.revokeObjectURL(picture.src);
  entries = hits.flatMap(entriesOf);
  if (query && ("id" in query || viewOf(query) || uploadedSource(query))) {
    entries.unshift({ image: query, box, isQuery: true });
  }
}

/** @param {Item[]} hits */
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

/** Return whether the page stays the same. @param {{ look?: boolean } | null} state */
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
  $("look-other").replaceChildren(
    ...left ? [path(imageName(left.image)), ...captionOf(left)] : []);
  $("look-previous").disabled = entry === entries[0];
  $("look-next").disabled = entry === entries.at(-1);
  toCompare.disabled = entries.length < 2;
  toCompare.ariaPressed = `${left !== null}`;
  $("look-comparing").hidden = left === null;
  slider.hidden = !stage.classList.toggle("blend", left !== null && blend.ariaPressed === "true");
  from.hidden = !("id" in image) || entry.isQuery === true;
  if ("id" in image) from.href = address({ kind: "point", id: image.id }, readAddress(location).options);
}

/** @param {Entry} entry */
function captionOf({ image, isQuery }) {
  const query = isQuery ? [span("rank-query", "Query")] : [];
  if (!("id" in image)) return query;
  const { rank, score, shown } = /** @type {Partial<Hit>} */ (image);
  const fields = shownFields({ ...image.facts, ...shown });
  return [...query, ...rank ? [span("rank", `${rank}`)] : [],
    span("number", score === undefined ? "" : `score ${score.toFixed(4)}${left ? " with the query" : ""}`),
    classLabel(image.class), ...fields ? [fields] : []];
}

/** @param {Entry} entry */
function pictureOf(entry) {
  const { image, box } = entry;
  if (entry.picture) return entry.picture;
  const picture = /** @type {Picture} */ ({ src: "", name: imageName(image), box });
  entry.picture = picture;
  if ("id" in image) {
    picture.src = `${image.picture}?side=${BASE_SIDE}`;
    api(`/api/points/${image.id}`).then(({ width, height }) => {
      Object.assign(picture, { width, height, source: `${image.picture}/region` });
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

/** Compare with a picture, which gives way to the next one. @param {Entry | null} entry */
function compareWith(entry) {
  left = entry;
  if (left !== current && current) show(current);
  else if (current === entries.at(-1)) step(-1);
  else step(1);
}

toCompare.onclick = () => {
  if (left && current) {
    left = null;
    show(current);
  } else compareWith(entries[0].isQuery ? entries[0] : current);
};
blend.onclick = () => {
  blend.ariaPressed = `${blend.ariaPressed !== "true"}`;
  if (current) show(current);
};
slider.oninput = () => stage.style.setProperty("--blend", slider.value);
$("look-previous").onclick = () => step(-1);
$("look-next").onclick = () => step(1);
$("look-hold").onclick = () => compareWith(current);
$("look-out").onclick = () => zoom.zoom(1 / 1.5);
$("look-in").onclick = () => zoom.zoom(1.5);
$("look-all").onclick = () => zoom.fit();
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
  const [back, on] = zoom.factor > 1 ? [["PageUp"], ["PageDown"]]
    : [["PageUp", "ArrowLeft", "ArrowUp"], ["PageDown", "ArrowRight", "ArrowDown"]];
  const by = Number(on.includes(event.key)) - Number(back.includes(event.key));
  if (by) {
    event.preventDefault();
    step(by);
  } else followKey(event, zoom);
};
document.addEventListener("click", (event) => {
  const look = clicked(event, "[data-look]")?.dataset.look;
  const entry = entries.find(({ image, isQuery }) =>
    isQuery ? look === "query" : "id" in image && image.id === look);
  if (!entry) return;
  event.preventDefault();
  history.pushState({ look: true }, "");
  open(entry);
});
