// An area of the map, drawn by mouse, finger or keys, and what becomes of its images.

import { NO_CLASS } from "./colours.js";
import { $, count, el, isolated, quantity, reasonOf } from "./dom.js";
import { ARROWS, distance, isModified, offset } from "./gestures.js";
import { thumbnail } from "./image.js";
import { STEPS } from "./points.js";
import { address } from "./state.js";

const [MOST_CORNERS, MOST_IN_SEARCH] = [64, 10000]; // as the API takes them
const [SHOWN, LISTED] = [3, 24]; // classes, and images at a time
const STEP = 16; // CSS pixels that a key moves, and of an edge at least

const layer = $("lasso");
const button = $("select");
const panel = $("area");
const told = $("area-told");
const found = $("area-found");
const notes = $("area-notes");
const list = $("area-images");
const more = $("area-list");

export class Area {
  corners = /** @type {Position[]} in the plane */ ([]);
  rows = /** @type {number[]} points inside */ ([]);
  listed = 0; // of them

  /** @param {Canvas} map @param {Around} around */
  constructor(map, around) {
    this.map = map;
    this.around = around;
    this.listen();
    this.clear();
  }

  /** @param {boolean} armed whether areas are drawn */
  arm(armed) {
    button.ariaPressed = `${armed}`;
    layer.classList.toggle("drawing", armed);
    layer.tabIndex = armed ? 0 : -1;
    if (armed) {
      this.clear();
      this.map.select(-1);
      told.textContent = "Draw around images, or move a rectangle by the arrow keys.";
      found.hidden = true;
      panel.hidden = false;
      layer.focus();
    } else if (this.corners.length === 0) this.clear();
  }

  clear() {
    this.corners = [];
    panel.hidden = true;
    this.draw();
  }

  /** @param {string} text of an address */
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
    const steps = spread(this.corners, MOST_CORNERS).flatMap(({ x, y }) => [x, y])
      .map((share) => Math.min(STEPS, Math.max(0, Math.round(share * STEPS))));
    return [this.map.points.drawing, ...steps].join();
  }

  draw() {
    const places = this.corners.map(({ x, y }) => this.map.view.toPixels(x, y));
    layer.querySelector("polygon")?.setAttribute("points",
      places.map(({ x, y }) => `${x},${y}`).join(" "));
  }

  listen() {
    const { view } = this.map;
    let last = /** @type {Position | null} */ (null);
    layer.onpointerdown = (event) => {
      if (event.button !== 0) return;
      layer.setPointerCapture(event.pointerId);
      last = offset(event);
      this.corners = [view.toPlane(last)];
    };
    layer.onpointermove = (event) => {
      const now = offset(event);
      if (!last || distance(last, now) < 4) return;
      last = now;
      this.corners.push(view.toPlane(now));
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
        button.focus();
      } else if (event.key === "Enter" && this.corners.length) this.take();
      else if (event.key in ARROWS) this.moveRectangle(event);
      else return;
      event.preventDefault();
    };
    button.onclick = () => this.arm(button.ariaPressed !== "true");
    more.onclick = () => this.list();
    $("area-examples").onclick = () => this.searchBy();
    $("area-among").onclick = () => {
      const { navigate, query, options } = this.around.page();
      navigate(address(query, { ...options, area: this.text }));
    };
    $("area-drop").onclick = () => this.clear();
  }

  /** Move a rectangle, or its lower right corner. @param {KeyboardEvent} event */
  moveRectangle({ key, shiftKey }) {
    const [right, down] = ARROWS[key].map((one) => STEP * one);
    const { view } = this.map;
    const { width, height } = view;
    let [a, b] = [{ x: width / 3, y: height / 3 }, { x: (2 * width) / 3, y: (2 * height) / 3 }];
    if (this.corners.length === 4) {
      [a, , b] = this.corners.map(({ x, y }) => view.toPixels(x, y));
      b = { x: Math.max(a.x + STEP, b.x + right), y: Math.max(a.y + STEP, b.y + down) };
      if (!shiftKey) a = { x: a.x + right, y: a.y + down };
    }
    this.corners = [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }].map((one) => view.toPlane(one));
    this.draw();
  }

  take() {
    const { points, classes } = this.map;
    const rows = points.inside(this.corners);
    [this.rows, this.listed] = [rows, 0];
    this.arm(false);
    this.draw();
    const sizes = new Map();
    for (const row of rows) sizes.set(points.labels[row], (sizes.get(points.labels[row]) ?? 0) + 1);
    const most = [...sizes].sort((a, b) => b[1] - a[1]).slice(0, SHOWN)
      .flatMap(([label, size]) => [isolated(classes[label] ?? NO_CLASS), ` ${count(size)}, `]);
    const { examples } = this.around.page();
    const tooMany = rows.length > MOST_IN_SEARCH;
    told.textContent = `${quantity(rows.length, "image")} in the area`;
    $("area-classes").replaceChildren(...most, quantity(sizes.size, "class", "classes"));
    for (const one of [more, $("area-examples")]) one.disabled = rows.length === 0;
    $("area-among").disabled = rows.length === 0 || tooMany;
    notes.textContent =
      (tooMany ? `A search takes an area of at most ${count(MOST_IN_SEARCH)}. ` : "")
      + (rows.length > examples ? `A search by them takes ${examples}, spread evenly.` : "");
    more.textContent = "List";
    list.replaceChildren();
    panel.hidden = found.hidden = false;
    panel.focus();
  }

  async list() {
    const { rows, listed } = this;
    const images = await this.images(rows.slice(listed, listed + LISTED));
    this.listed += LISTED;
    list.append(...images.map((image) => el("li", {},
      el("a", { href: address({ kind: "point", id: image.id }, {}), title: image.path },
        thumbnail(image, image.path, 128)))));
    more.textContent = "More";
    more.disabled = this.listed >= rows.length;
  }

  async searchBy() {
    const { navigate, options: { where }, examples } = this.around.page();
    const positive = (await this.images(spread(this.rows, examples))).map(({ id }) => id);
    if (positive.length) navigate(address({ kind: "examples", positive, negative: [] }, { where }));
  }

  /** None after an error, which is told. @param {number[]} rows */
  images(rows) {
    return this.around.imagesOf(rows).catch((error) => {
      notes.textContent = reasonOf(error);
      return [];
    });
  }
}

/** Return so many of a list, spread evenly. @template T @param {T[]} list @param {number} most */
function spread(list, most) {
  const step = Math.ceil(list.length / most);
  return list.filter((_, i) => i % step === 0);
}
