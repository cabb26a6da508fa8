// The map: points, legend, the card of an image, what matches an expression, a query and its hits.

import { isFault, jsonRequest, request } from "./api.js";
import { Area } from "./area.js";
import { Canvas } from "./canvas.js";
import { classLabel } from "./colours.js";
import { $, count, el, path, quantity, reasonOf, span } from "./dom.js";
import { thumbnail } from "./image.js";
import { showLegend } from "./legend.js";
import { Points, readMap } from "./points.js";
import { address, mapAddress } from "./state.js";

const NEAREST = 10; // hits among which a query is put that is no point
const HOVER = 60; // milliseconds at a point after which its image is requested

const input = $("map-where");
const told = $("map-matches");
let canvas = /** @type {Canvas | null} */ (null);
/** @type {Page} what the address says */ let page;
let expression = ""; // that the points match
let area = /** @type {Area | null} */ (null);
let images = /** @type {Map<number, Promise<StoredImage>>} by point */ (new Map());

/** @param {Page} shown @param {AbortSignal} signal */
export async function openMap(shown, signal) {
  page = shown;
  const where = page.options.where ?? "";
  input.value = where;
  $("map-filter").onsubmit = (event) => {
    event.preventDefault();
    page.navigate(mapAddress(page.query, { ...page.options, where: input.value.trim() }));
  };
  canvas?.select(-1);
  const map = await load(signal);
  map.marks = { hits: [], queries: [], place: null };
  map.redraw();
  area?.show(page.options.area ?? "");
  await mark(map, where, signal);
  if (page.query) await markHits(map, page.query, signal);
}

/** Return the map, read again if it has changed. @param {AbortSignal} signal */
async function load(signal) {
  const response = await fetchDrawn("/api/map", { signal });
  const known = response.headers.get("ETag") ?? "";
  if (canvas?.canvas.dataset.tag === known) return canvas;
  const plain = readMap(await response.arrayBuffer());
  signal.throwIfAborted();
  const points = new Points(plain);
  canvas?.load(points, plain.classes);
  canvas ??= createMap(points, plain.classes);
  canvas.canvas.dataset.tag = known;
  images = new Map();
  area = new Area(canvas, { imagesOf, page: () => page });
  showLegend(plain.classes, canvas);
  return canvas;
}

/** Request until the map is drawn; the server holds each request for some seconds. @type {Ask} */
async function fetchDrawn(path, init = {}) {
  const response = await request(path, init);
  const status = $("map-status");
  if (response.status !== 202) {
    status.textContent = "";
    return response;
  }
  const { doing, done, total } = /** @type {MapProgress} */ (await response.json());
  init.signal?.throwIfAborted();
  const share = total ? `, ${Math.floor((100 * done) / total)} %` : "";
  status.replaceChildren(`Preparing the map: ${doing}${share} …`,
    el("progress", { max: total || 1, value: total ? done : null, "aria-hidden": "true" }));
  return fetchDrawn(path, init);
}

/** Dim the points that do not match; after a fault they stay as they are. @type {Mark<string>} */
async function mark(map, where, signal) {
  input.ariaInvalid = null;
  told.textContent = where ? "Asking which match …" : "";
  let mask = null;
  if (where) {
    try {
      const path = `/api/map/matching?${new URLSearchParams({ where })}`;
      const answer = /** @type {Matches} */ (await (await fetchDrawn(path, { signal })).json());
      signal.throwIfAborted();
      if (answer.tag !== map.points.tag) return page.navigate(location.href); // it has changed
      mask = answer.mask;
      const some = answer.matches ? count(answer.matches) : "None";
      told.textContent = `${some} of ${count(map.points.count)} images match`;
    } catch (error) {
      signal.throwIfAborted();
      input.ariaInvalid = "true";
      const place = isFault(error) ? `, at character ${error.place + 1}` : "";
      told.textContent = reasonOf(error) + place;
      return;
    }
  }
  expression = where;
  map.points.mark(mask);
  map.redraw();
}

/** @type {Mark<Query>} */
async function markHits(map, query, signal) {
  const { hits, positive, negative, query: image } = await page.search(query, page.options, signal);
  const asked = [image, ...positive, ...negative].flatMap((one) => one && "id" in one ? [one.id] : []);
  const hitIds = hits.map(({ id }) => id);
  const wanted = [...new Set([...asked, ...hitIds])].slice(0, 1000);
  const points = wanted.length ? await pointsOf({ wanted }, signal) : [];
  const rows = new Map(points.map(({ row, image: { id } }) => [id, row]));
  /** @param {string[]} ids */
  const rowsOf = (ids) => ids.map((id) => rows.get(id) ?? -1).filter((row) => row >= 0);
  const [found, queries] = [rowsOf(hitIds), rowsOf(asked)];
  const place = queries.length ? null : middle(map, found.slice(0, NEAREST));
  map.marks = { hits: found, queries, place };
  map.redraw();
  const text = `Marked: ${quantity(queries.length || 1, "query", "queries")}, `
    + `${quantity(found.length, "hit")}${place ? ", the query among its nearest" : ""}. `;
  told.replaceChildren(told.textContent ? `${told.textContent}. ${text}` : text,
    el("a", { href: address(query, page.options) }, "Back to the answer"));
}

/** @param {Canvas} map @param {number[]} rows */
function middle({ points }, rows) {
  /** @param {Float32Array} values */
  const median = (values) => rows.map((row) => values[row]).sort((a, b) => a - b)[rows.length >> 1];
  return rows.length ? { x: median(points.x), y: median(points.y) } : null;
}

/** @type {PointsOf} */
async function pointsOf(wanted, signal) {
  const response = await fetchDrawn("/api/map/points", { ...jsonRequest(wanted), signal });
  return (await response.json()).points;
}

/** Images that were deleted are left out. @param {number[]} rows */
async function imagesOf(rows) {
  const tag = canvas?.points.tag ?? "";
  return (await pointsOf({ tag, rows })).map(({ image }) => image);
}

/** Return the image of a point, or null if it cannot be had. @param {number} point */
function imageOf(point) {
  const asked = images.get(point) ?? imagesOf([point]).then(([image]) => image);
  images.set(point, asked);
  return asked.catch(() => {
    images.delete(point);
    return null;
  });
}

/** @param {Points} points @param {Class[]} classes */
function createMap(points, classes) {
  let hovering = 0;
  const map = new Canvas($("map"), points, classes, {
    select: (selection) => {
      clearTimeout(hovering);
      $("tip").hidden = selection === null;
      if (selection === null) return;
      const { point } = selection;
      showCard(null, map.classes[map.points.labels[point]], selection);
      hovering = setTimeout(async () => {
        const image = await imageOf(point);
        if (map.selected === point && image) showCard(image, image.class, selection);
      }, selection.input === "mouse" && !images.has(point) ? HOVER : 0);
    },
    open: async (point) => {
      const image = await imageOf(point);
      page.navigate(image ? search(image.id) : location.href); // the map has changed
    },
    draw: (anyInView) => {
      $("map-empty").hidden = anyInView || map.points.count === 0;
      area?.draw();
    },
  });
  $("zoom-in").onclick = () => map.view.zoom(1.6);
  $("zoom-out").onclick = () => map.view.zoom(1 / 1.6);
  $("zoom-all").onclick = $("map-back").onclick = () => {
    map.view.fit();
    map.canvas.focus();
  };
  return map;
}

/** @param {string} id */
const search = (id) => address({ kind: "point", id }, { ...page.options, where: expression });

/** Show an image beside its point; its class until the rest is there. @type {ShowCard} */
function showCard(image, name, { x, y, input }) {
  const card = $("tip");
  const byMouse = input === "mouse";
  card.classList.toggle("pinned", !byMouse);
  card.replaceChildren(image ? el("a", { href: search(image.id) },
    span("frame", thumbnail(image, "")), classLabel(image.class), path(image.path),
    span("more", byMouse ? "click to search from it" : "search from it"))
    : el("a", {}, span("frame"), classLabel(name)));
  const { clientWidth, clientHeight } = $("map");
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = x + 18 + width < clientWidth ? x + 18 : x - 18 - width;
  const top = Math.min(Math.max(4, y - 60), clientHeight - height - 4);
  Object.assign(card.style, { left: `${Math.max(4, left)}px`, top: `${top}px` });
}
