// Draws points on a canvas, and finds the point under the pointer or in the centre.

import { classSprite, classStyle } from "./colours.js";
import { distance, View } from "./view.js";

/** @import { Points } from "./points.js" */
/** @import { Position } from "./view.js" */

/** @typedef {"mouse" | "touch" | "keyboard"} Input */
/** @typedef {{ point: number, input: Input } & Position} Selection */
/**
 * @typedef {object} Callbacks
 * @property {(selection: Selection | null) => void} onSelect the pointer or keyboard is at a point
 * @property {(point: number) => void} onOpen a point was clicked
 */

const POINTER_RADIUS = 14; // CSS pixels between a pointer and the point that it selects
const DRAG_DISTANCE = 5; // CSS pixels from which on a press is a drag
const KEY_STEP = 80; // CSS pixels that an arrow key moves the map
const KEY_ZOOM = 1.5;
const SLICES = 16; // parts of each class that are drawn in turn
const SHAPE_SIZE = 5; // CSS pixels from which on a point has the shape of its class

export class Canvas {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Points} points
   * @param {string[]} classes
   * @param {Callbacks} callbacks
   */
  constructor(canvas, points, classes, { onSelect, onOpen }) {
    this.canvas = canvas;
    const context = canvas.getContext("2d");
    if (context === null) throw new Error("This browser cannot draw on a canvas.");
    this.context = context;
    this.points = points;
    this.styles = classes.map(classStyle);
    this.onSelect = onSelect;
    this.onOpen = onOpen;
    this.view = new View(points.bounds);
    this.pixelRatio = 1;
    this.selected = -1;
    /** @type {Map<number, Position>} by pointer id */
    this.pointers = new Map();
    this.dragged = false;
    this.frameRequested = false;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === 0) return;
    this.pixelRatio = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.pixelRatio);
    this.canvas.height = Math.round(clientHeight * this.pixelRatio);
    this.view.resize(clientWidth, clientHeight);
    this.redraw();
  }

  showAll() {
    this.view.fit();
    this.redraw();
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  move(dx, dy) {
    this.view.move(dx, dy);
    this.redraw();
  }

  /**
   * @param {number} factor
   * @param {Position} [fixed]
   */
  zoom(factor, fixed) {
    this.view.zoom(factor, fixed);
    this.redraw();
  }

  /**
   * Zoom; the selected point moves to the centre.
   * @param {number} factor
   */
  zoomOnSelected(factor) {
    if (this.selected >= 0) {
      const { centre } = this.view;
      const { x, y } = this.position(this.selected);
      this.move(centre.x - x, centre.y - y);
    }
    this.zoom(factor);
  }

  /** @param {number} point */
  position(point) {
    return this.view.toPixels(this.points.x[point], this.points.y[point]);
  }

  /**
   * Return the point that is nearest to a position within a radius, or -1.
   * @param {Position} position
   */
  pointAt(position, radius = POINTER_RADIUS) {
    const { x, y } = this.view.toPlane(position);
    return this.points.nearest(x, y, radius / this.view.scale);
  }

  /**
   * @param {number} point -1 for none
   * @param {Input} input
   */
  select(point, input) {
    if (point === this.selected) return;
    this.selected = point;
    this.redraw();
    this.notify(input);
  }

  deselect() {
    this.select(-1, "mouse");
  }

  /** @param {Input} input */
  notify(input) {
    const point = this.selected;
    this.onSelect(point < 0 ? null : { point, ...this.position(point), input });
  }

  // Drawing

  /** Draw in the next frame. */
  redraw() {
    if (this.frameRequested) return;
    this.frameRequested = true;
    requestAnimationFrame(() => {
      this.frameRequested = false;
      this.draw();
    });
  }

  /** Return the size of a point in CSS pixels; it grows with the zoom. */
  pointSize() {
    const { width, height, magnification } = this.view;
    const spacing = Math.sqrt((width * height) / Math.max(1, this.points.count));
    const size = Math.min(9, Math.max(2.5, spacing * 0.3));
    return Math.min(14, size * Math.max(1, magnification) ** 0.45);
  }

  draw() {
    const { context, points, pixelRatio } = this;
    const { scale, left, top, width, height } = this.view;
    const size = this.pointSize();
    const half = size / 2;
    context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.globalAlpha = size < SHAPE_SIZE ? 0.8 : 0.92;
    const styles = size < SHAPE_SIZE ? [] : this.styles;
    const sprites = styles.map((style) => classSprite(style, size, pixelRatio));
    points.forEachSlice(SLICES, (label, members) => {
      const sprite = sprites[label];
      context.fillStyle = this.styles[label].colour;
      for (const point of members) {
        const x = points.x[point] * scale + left;
        const y = points.y[point] * scale + top;
        if (x < -size || y < -size || x > width + size || y > height + size) continue;
        if (sprite) context.drawImage(sprite, x - half - 1, y - half - 1, size + 2, size + 2);
        else context.fillRect(x - half, y - half, size, size);
      }
    });
    context.globalAlpha = 1;
    if (this.selected >= 0) this.drawRing(size);
    this.canvas.dataset.drawn = `${points.count}`;
  }

  /** @param {number} size */
  drawRing(size) {
    const { context } = this;
    const { x, y } = this.position(this.selected);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(x, y, size / 2 + 5, 0, 2 * Math.PI);
    context.stroke();
  }

  // Pointers and keys

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.onPointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.onPointerMove(event));
    canvas.addEventListener("pointerup", (event) => this.onPointerUp(event));
    canvas.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.deselect();
    });
    canvas.addEventListener("keydown", (event) => this.onKeyDown(event));
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    event.preventDefault();
    const speed = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 0.0018 : 0.05;
    this.zoom(Math.exp(-event.deltaY * speed), offset(event));
    this.deselect();
  }

  /** @param {PointerEvent} event */
  onPointerDown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, offset(event));
    this.dragged = this.pointers.size > 1;
  }

  /** @param {PointerEvent} event */
  onPointerMove(event) {
    const now = offset(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.select(this.pointAt(now), "mouse");
      return;
    }
    if (!this.dragged && distance(now, before) < DRAG_DISTANCE) return;
    this.dragged = true;
    this.deselect();
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) this.pinch(before, now, other);
    else this.move(now.x - before.x, now.y - before.y);
  }

  /**
   * Zoom by two fingers, one of which moved.
   * @param {Position} before
   * @param {Position} now
   * @param {Position} other
   */
  pinch(before, now, other) {
    const factor = Math.max(1, distance(now, other)) / Math.max(1, distance(before, other));
    this.zoom(factor, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    this.move((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  /** @param {PointerEvent} event */
  onPointerUp(event) {
    this.pointers.delete(event.pointerId);
    if (this.dragged || event.button !== 0) return;
    if (event.pointerType !== "mouse") {
      this.select(this.pointAt(offset(event), 2 * POINTER_RADIUS), "touch");
      return;
    }
    const point = this.pointAt(offset(event));
    if (point >= 0) this.onOpen(point);
  }

  /** @param {KeyboardEvent} event */
  onKeyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && this.selected >= 0) {
      this.onOpen(this.selected);
      return;
    }
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => this.move(KEY_STEP, 0),
      ArrowRight: () => this.move(-KEY_STEP, 0),
      ArrowUp: () => this.move(0, KEY_STEP),
      ArrowDown: () => this.move(0, -KEY_STEP),
      "+": () => this.zoomOnSelected(KEY_ZOOM),
      "=": () => this.zoomOnSelected(KEY_ZOOM),
      "-": () => this.zoomOnSelected(1 / KEY_ZOOM),
      0: () => this.showAll(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
    const { centre, width, height } = this.view;
    this.selected = this.pointAt(centre, Math.max(width, height));
    this.notify("keyboard");
  }
}

/**
 * @param {MouseEvent} event
 * @returns {Position}
 */
function offset(event) {
  return { x: event.offsetX, y: event.offsetY };
}
