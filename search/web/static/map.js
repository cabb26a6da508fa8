// The map of the collection: its points, its legend, and the card of the selected image.

import { api } from "./api.js";
import { Canvas } from "./canvas.js";
import { classLabel, NO_CLASS, swatch } from "./colours.js";
import { $, count, el, path, span } from "./dom.js";
import { thumbnail } from "./image.js";
import { Points } from "./points.js";
import { address } from "./state.js";

/** @import { Class, MapAnswer, StoredImage } from "./api.js" */
/** @import { Selection } from "./canvas.js" */
let canvas = /** @type {Canvas | null} */ (null);

/** @param {(address: string) => void} navigate @param {AbortSignal} signal */
export async function openMap(navigate, signal) {
  if (canvas) canvas.select(-1);
  else canvas = createMap(await fetchMap(signal), navigate);
}

/** Request the map until it is drawn; the server holds each request for some seconds.
 * @type {(signal: AbortSignal) => Promise<MapAnswer>} */
async function fetchMap(signal) {
  $("map-status").textContent =
    "Drawing the map; the first time takes minutes in a large collection …";
  const answer = /** @type {MapAnswer} */ (await api("/api/map", { signal }));
  return "ids" in answer ? answer : fetchMap(signal);
}

/** @param {MapAnswer} answer @param {(address: string) => void} navigate */
function createMap(answer, navigate) {
  const { classes, labels, ids, paths } = answer;
  const points = new Points(answer);
  const map = new Canvas($("map", HTMLCanvasElement), points, classes);
  map.onSelect = (selection) => {
    $("tip").hidden = selection === null;
    if (selection === null) return;
    const { point } = selection;
    const picture = `/api/images/${ids[point]}`;
    const image = { id: ids[point], path: paths[point], class: classes[labels[point]], picture };
    showCard(image, selection);
  };
  map.onOpen = (point) => navigate(address({ kind: "point", id: ids[point] }, {}));
  $("legend").replaceChildren(...classes.map((name, i) => legendEntry(name, i, points, map)));
  $("zoom-in").onclick = () => map.view.zoom(1.6);
  $("zoom-out").onclick = () => map.view.zoom(1 / 1.6);
  $("zoom-all").onclick = () => map.view.fit();
  $("map-status").textContent = "";
  return map;
}

/** @type {(name: Class, label: number, points: Points, map: Canvas) => HTMLElement} */
function legendEntry(name, label, points, map) {
  const button = el("button", { type: "button", "aria-pressed": "true" },
    swatch(name), span("name", name ?? NO_CLASS), span("number", count(points.classSize(label))));
  button.onclick = () => {
    points.visible[label] = !points.visible[label];
    button.setAttribute("aria-pressed", `${points.visible[label]}`);
    map.select(-1);
    map.redraw();
  };
  return el("li", {}, button);
}

/** Show an image beside its point. @param {StoredImage} image @param {Selection} selection */
function showCard(image, { x, y, input }) {
  const card = $("tip");
  const byMouse = input === "mouse";
  card.classList.toggle("pinned", !byMouse);
  card.replaceChildren(el("a", { href: address({ kind: "point", id: image.id }, {}) },
    span("frame", thumbnail(image, "")), classLabel(image.class), path(image.path),
    span("more", byMouse ? "click to search from it" : "search from it")));
  const { clientWidth, clientHeight } = $("map");
  const right = x + 18;
  const left = right + card.offsetWidth < clientWidth ? right : x - 18 - card.offsetWidth;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.min(Math.max(4, y - 60), clientHeight - card.offsetHeight - 4)}px`;
}
