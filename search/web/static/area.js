// An area of the map: drawn by mouse, finger or keys, and what its images are good for.

import { NO_CLASS } from "./colours.js";
import { $, count, el, quantity, reasonOf, span } from "./dom.js";
import { ARROWS, distance, isModified, offset } from "./gestures.js";
import { thumbnail } from "./image.js";
import { STEPS } from "./points.js";
import { address } from "./state.js";

const MOST_CORNERS = 64; // as the API takes them
const MOST_IN_SEARCH = 10000; // as the API takes them
const [SHOWN, LISTED] = [3, 24]; // classes, and images at a time
const STEP = 16; // CSS pixels that a key moves, and of an edge at least

export class Area {
  corners = /** @type {Position[]} in the plane */ ([]);
  rows = /** @type {number[]} points inside */ ([]);
  listed = 0; // of them
  layer = $("lasso");
  button = $("select");
  panel = $("area");
  polygon = /** @type {SVGPolygonElement} */ (this.layer.querySelector("polygon"));

  /** @param {Canvas} map @param {Around} around */
  constructor(map, around) {
    this.map = map;
    this.around = around;
    this.button.onclick = () => this.arm(this.button.ariaPressed !== "true");
    this.listen();
    this.clear();
  }

  /** Draw areas from now on, or none. @param {boolean} armed */
  arm(armed) {
    this.button.ariaPressed = `${armed}`;
    this.layer.classList.toggle("drawing", armed);
    this.layer.tabIndex = armed ? 0 : -1;
    if (armed) {
      this.clear();
      this.map.select(-1);
      this.panel.replaceChildren(el("p", {}, "Draw around images, or move a rectangle by the arrow keys."));
      this.panel.hidden = false;
      this.layer.focus();
    }
    else if (this.corners.length === 0) this.clear();
  }

  clear() {
    this.corners = [];
    this.panel.hidden = true;
    this.draw();
  }

  /** Show an area of an address. @param {string} text */
  show(text) {
    const [drawing, ...numbers] = text.split(",");
    this.arm(false);
    this.clear();
    if (drawing !== this.map.points.drawing) return;
    const shares = numbers.map((number) => Number(number) / STEPS);
    this.corners = shares.flatMap((x, i) => i % 2 ? [] : [{ x, y: shares[i + 1] }]);
    this.take();
  }

  /** The area as the API takes it. */
  get text() {
    const { corners, map: { points } } = this;
    const step = Math.ceil(corners.length / MOST_CORNERS);
    const kept = corners.filter((_, i) => i % step === 0);
    const whole = (/** @type {number} */ share) => Math.min(STEPS, Math.max(0, Math.round(share * STEPS)));
    return [points.drawing, ...kept.flatMap(({ x, y }) => [whole(x), whole(y)])].join();
  }

  draw() {
    const places = this.corners.map(({ x, y }) => this.map.view.toPixels(x, y));
    this.polygon.setAttribute("points", places.map(({ x, y }) => `${x},${y}`).join(" "));
  }

  listen() {
    const { layer, map: { view } } = this;
    let last = /** @type {Position | null} */ (null);
    layer.onpointerdown = (event) => {
      if (event.button !== 0) return;
      layer.setPointerCapture(event.pointerId);
      last = offset(event);
      this.corners = [view.toPlane(last)];
    };
    layer.onpointermove = ({ offsetX: x, offsetY: y }) => {
      if (!last || distance(last, { x, y }) < 4) return;
      last = { x, y };
      this.corners.push(view.toPlane(last));
      this.draw();
    };
    layer.onpointerup = () => {
      last = null;
      if (this.corners.length > 2) this.take();
      else this.clear();
    };
    layer.onpointercancel = () => { last = null; };
    layer.onkeydown = (event) => {
      if (isModified(event)) return;
      if (event.key === "Escape") {
        this.corners = [];
        this.arm(false);
        this.button.focus();
      }
      else if (event.key === "Enter" && this.corners.length) this.take();
      else if (event.key in ARROWS) this.moveRectangle(ARROWS[event.key], event.shiftKey);
      else return;
      event.preventDefault();
    };
  }

  /** Move a rectangle, or its lower right corner alone; the first one is in the middle.
   * @param {[number, number]} by @param {boolean} corner */
  moveRectangle(by, corner) {
    const [right, down] = by.map((one) => STEP * one);
    const { view } = this.map;
    let [a, b] = [{ x: view.width / 3, y: view.height / 3 }, { x: (2 * view.width) / 3, y: (2 * view.height) / 3 }];
    if (this.corners.length === 4) {
      [a, , b] = this.corners.map(({ x, y }) => view.toPixels(x, y));
      b = { x: Math.max(a.x + STEP, b.x + right), y: Math.max(a.y + STEP, b.y + down) };
      if (!corner) a = { x: a.x + right, y: a.y + down };
    }
    this.corners = [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }].map((one) => view.toPlane(one));
    this.draw();
  }

  /** Take the images inside, and offer what to do with them. */
  take() {
    const { map: { points, classes }, around: { page } } = this;
    const rows = points.inside(this.corners);
    [this.rows, this.listed] = [rows, 0];
    this.arm(false);
    this.draw();
    const sizes = new Map();
    for (const row of rows) sizes.set(points.labels[row], (sizes.get(points.labels[row]) ?? 0) + 1);
    const most = [...sizes].sort((a, b) => b[1] - a[1]).slice(0, SHOWN)
      .flatMap(([label, size]) => [el("bdi", {}, classes[label] ?? NO_CLASS), ` ${count(size)}, `]);
    /** @type {(name: string, onclick: () => void, most: number) => HTMLElement} */
    const button = (name, onclick, most) =>
      el("button", { onclick, disabled: rows.length === 0 || rows.length > most }, name);
    const { examples } = page();
    const notes = [
      rows.length > MOST_IN_SEARCH ? `A search takes an area of at most ${count(MOST_IN_SEARCH)}. ` : "",
      rows.length > examples ? `A search by them takes ${examples}, spread evenly.` : ""];
    this.panel.replaceChildren(
      el("p", { role: "status" }, `${quantity(rows.length, "image")} in the area`),
      el("p", { class: "fine" }, ...most, quantity(sizes.size, "class", "classes")),
      span("buttons", button("List", () => this.list(), Infinity),
        button("Search by them", () => this.searchBy(), Infinity),
        button("Search among them", () => this.searchAmong(), MOST_IN_SEARCH),
        el("button", { onclick: () => this.clear() }, "Clear")),
      el("p", { class: "fine", role: "alert" }, ...notes), el("ul", { class: "set" }));
    this.panel.hidden = false;
    this.panel.focus();
  }

  /** List the next images. */
  async list() {
    const { panel, rows } = this;
    const images = await this.images(rows.slice(this.listed, this.listed + LISTED));
    this.listed += LISTED;
    panel.querySelector("ul")?.append(...images.map(({ id, path, ...image }) => el("li", {},
      el("a", { href: address({ kind: "point", id }, {}), title: path },
        thumbnail({ id, path, ...image }, path, 128)))));
    const next = panel.querySelector("button");
    if (next) [next.textContent, next.disabled] = ["More", this.listed >= rows.length];
  }

  /** Search by as many of the images as a search takes. */
  async searchBy() {
    const { navigate, options: { where }, examples } = this.around.page();
    const step = Math.ceil(this.rows.length / examples);
    const images = await this.images(this.rows.filter((_, i) => i % step === 0));
    const positive = images.map(({ id }) => id);
    if (positive.length) navigate(address({ kind: "examples", positive, negative: [] }, { where }));
  }

  /** Search only in the area, by the query if there is one. */
  searchAmong() {
    const { navigate, query, options } = this.around.page();
    navigate(address(query, { ...options, area: this.text }));
  }

  /** @param {number[]} rows @returns {Promise<StoredImage[]>} none if they cannot be had, which is told */
  async images(rows) {
    try {
      return await this.around.imagesOf(rows);
    } catch (error) {
      const told = this.panel.querySelector('[role="alert"]');
      if (told) told.textContent = reasonOf(error);
      return [];
    }
  }
}
