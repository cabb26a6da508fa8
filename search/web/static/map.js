// The map of the collection: its points, its legend, and the card of the selected image.

import { api } from "./api.js";
import { Canvas } from "./canvas.js";
import { swatch } from "./colours.js";
import { $, count, el, path, picture, span } from "./dom.js";
import { Points } from "./points.js";
import { address } from "./state.js";

/** @import { MapAnswer, StoredImage } from "./api.js" */
/** @import { Selection } from "./canvas.js" */

/** @type {Canvas | null} */
let canvas = null;

/**
 * Show the map. It is requested once.
 * @param {(address: string) => void} navigate
 * @param {AbortSignal} signal
 */
export async function openMap(navigate, signal) {
  if (canvas) {
    canvas.deselect();
    return;
  }
  const answer = await fetchMap(signal);
  if (!canvas) canvas = createMap(answer, navigate);
}

/**
 * Request the map until it is drawn; the server holds each request for some seconds.
 * @param {AbortSignal} signal
 * @returns {Promise<MapAnswer>}
 */
async function fetchMap(signal) {
  $("map-status").textContent =
    "Drawing the map; the first time takes minutes in a large collection …";
  for (;;) {
    /** @type {Partial<MapAnswer>} */
    const answer = await api("/api/map", { signal });
    if (answer.ids) return /** @type {MapAnswer} */ (answer);
  }
}

/**
 * @param {MapAnswer} answer
 * @param {(address: string) => void} navigate
 */
function createMap(answer, navigate) {
  const { classes, labels, ids, paths } = answer;
  const points = new Points(answer);
  /** @type {(point: number) => StoredImage} */
  const image = (point) => ({
    id: ids[point],
    path: paths[point],
    class: classes[labels[point]],
    picture: `/api/images/${ids[point]}`,
  });
  const map = new Canvas($("map", HTMLCanvasElement), points, classes, {
    onSelect: (selection) => {
      if (selection) showCard(image(selection.point), selection);
      else $("tip").hidden = true;
    },
    onOpen: (point) => navigate(address({ kind: "point", id: ids[point] }, {})),
  });
  $("legend").replaceChildren(
    ...classes.map((name, label) => legendEntry(name, label, points, map)),
  );
  $("zoom-in").onclick = () => map.zoom(1.6);
  $("zoom-out").onclick = () => map.zoom(1 / 1.6);
  $("zoom-all").onclick = () => map.showAll();
  $("map-status").textContent = "";
  return map;
}

/**
 * Create the button that shows and hides a class.
 * @param {string} name
 * @param {number} label
 * @param {Points} points
 * @param {Canvas} map
 */
function legendEntry(name, label, points, map) {
  const button = el(
    "button",
    { type: "button", "aria-pressed": "true" },
    swatch(name),
    span("name", name),
    span("number", count(points.classSize(label))),
  );
  button.onclick = () => {
    points.visible[label] = !points.visible[label];
    button.setAttribute("aria-pressed", `${points.visible[label]}`);
    map.deselect();
    map.redraw();
  };
  return el("li", {}, button);
}

/**
 * Show an image beside its point, within the map.
 * @param {StoredImage} image
 * @param {Selection} selection
 */
function showCard(image, { x, y, input }) {
  const card = $("tip");
  const byMouse = input === "mouse";
  card.hidden = false;
  card.classList.toggle("pinned", !byMouse);
  card.replaceChildren(
    el(
      "a",
      { href: address({ kind: "point", id: image.id }, {}) },
      span("frame", picture(image, "")),
      span("class", swatch(image.class), image.class),
      path(image),
      span("more", byMouse ? "click to search from it" : "search from it"),
    ),
  );
  const { clientWidth, clientHeight } = $("map");
  const right = x + 18;
  const left = right + card.offsetWidth < clientWidth ? right : x - 18 - card.offsetWidth;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.min(Math.max(4, y - 60), clientHeight - card.offsetHeight - 4)}px`;
}
