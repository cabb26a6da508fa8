// The map of the collection: its points, its legend, the card of the selected image, and which
// points match an expression.

import { api, isFault } from "./api.js";
import { Canvas } from "./canvas.js";
import { classLabel } from "./colours.js";
import { $, count, el, path, span } from "./dom.js";
import { thumbnail } from "./image.js";
import { showLegend } from "./legend.js";
import { Points } from "./points.js";
import { address, mapAddress } from "./state.js";

/** @import { MapAnswer, Matches, StoredImage } from "./api.js" */
/** @import { Selection } from "./canvas.js" */
const input = $("map-where", HTMLInputElement);
let canvas = /** @type {Canvas | null} */ (null);
let drawn = ""; // the tag of the map
let expression = ""; // that its points match

/** Show the map; points for which an expression does not hold are dimmed.
 * @param {string} where @param {(address: string) => void} navigate @param {AbortSignal} signal */
export async function openMap(where, navigate, signal) {
  input.value = where;
  $("map-filter", HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    navigate(mapAddress(input.value.trim()));
  };
  if (canvas) canvas.select(-1);
  else {
    $("map-status").textContent =
      "Drawing the map; the first time takes minutes in a large collection …";
    const answer = /** @type {MapAnswer} */ (await fetchDrawn("/api/map", signal));
    drawn = answer.tag;
    canvas = createMap(answer, navigate);
  }
  await mark(canvas, where, signal);
}

/** Request what needs the map until that is drawn; the server holds each request for some seconds.
 * @type {(path: string, signal: AbortSignal) => Promise<MapAnswer | Matches>} */
async function fetchDrawn(path, signal) {
  const answer = /** @type {MapAnswer | Matches} */ (await api(path, { signal }));
  return "tag" in answer ? answer : fetchDrawn(path, signal);
}

/** Dim the points that do not match. A fault is told, and the points stay as they are.
 * @param {Canvas} map @param {string} where @param {AbortSignal} signal */
async function mark(map, where, signal) {
  const told = $("map-matches");
  input.removeAttribute("aria-invalid");
  told.textContent = where ? "Asking which match …" : "";
  let mask = null;
  if (where) {
    try {
      const path = `/api/map/matching?${new URLSearchParams({ where })}`;
      const answer = /** @type {Matches} */ (await fetchDrawn(path, signal));
      if (answer.tag !== drawn) {
        told.textContent = "The collection has changed: load this page again.";
        return;
      }
      mask = answer.mask;
      const some = answer.matches ? `${count(answer.matches)} of ` : "None of ";
      told.textContent = `${some}${count(map.points.count)} images match`;
    } catch (error) {
      signal.throwIfAborted();
      input.setAttribute("aria-invalid", "true");
      const place = isFault(error) ? `, at character ${error.place + 1}` : "";
      told.textContent = /** @type {Error} */ (error).message + place;
      return;
    }
  }
  expression = where;
  map.points.mark(mask);
  map.redraw();
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
  map.onOpen = (point) => navigate(search(ids[point]));
  showLegend(classes, map);
  $("zoom-in").onclick = () => map.view.zoom(1.6);
  $("zoom-out").onclick = () => map.view.zoom(1 / 1.6);
  $("zoom-all").onclick = () => map.view.fit();
  $("map-status").textContent = "";
  return map;
}

/** Return the address of a search among the images that match. @param {string} id */
const search = (id) => address({ kind: "point", id }, { where: expression });

/** Show an image beside its point. @param {StoredImage} image @param {Selection} selection */
function showCard(image, { x, y, input }) {
  const card = $("tip");
  const byMouse = input === "mouse";
  card.classList.toggle("pinned", !byMouse);
  card.replaceChildren(el("a", { href: search(image.id) },
    span("frame", thumbnail(image, "")), classLabel(image.class), path(image.path),
    span("more", byMouse ? "click to search from it" : "search from it")));
  const { clientWidth, clientHeight } = $("map");
  const right = x + 18;
  const left = right + card.offsetWidth < clientWidth ? right : x - 18 - card.offsetWidth;
  card.style.left = `${Math.max(4, left)}px`;
  card.style.top = `${Math.min(Math.max(4, y - 60), clientHeight - card.offsetHeight - 4)}px`;
}
