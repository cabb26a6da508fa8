// Draws points on a canvas, and finds the point under the pointer or in the centre.

import { classSprite, classStyle } from "./colours.js";
import { distance, View } from "./view.js";

/** @import { Class } from "./api.js" */
/** @import { Points } from "./points.js" */
/** @import { Position } from "./view.js" */
/** @typedef {{ point: number, input: "mouse" | "touch" | "keyboard" } & Position} Selection */
const POINTER_RADIUS = 14; // CSS pixels between a pointer and the point that it selects
const DRAG_DISTANCE = 5; // CSS pixels from which on a press is a drag
const KEY_STEP = 80; // CSS pixels that an arrow key moves the map
const KEY_ZOOM = 1.5;
const SLICES = 16; // parts of each class that are drawn in turn
const DIMMED = 0.1; // opacity
const SHAPE_SIZE = 5; // CSS pixels from which on a point has the shape of its class

export class Canvas {
  /** Called when the pointer or keyboard is at a point. @type {(at: Selection | null) => void} */
  onSelect = () => {};
  /** Called when a point is clicked. @type {(point: number) => void} */
  onOpen = () => {};
  pixelRatio = 1;
  selected = -1;
  dragged = false;
  frame = /** @type {number | null} the next one, requested */ (null);
  pointers = /** @type {Map<number, Position>} by pointer id */ (new Map());

  /** @param {HTMLCanvasElement} canvas @param {Points} points @param {Class[]} classes */
  constructor(canvas, points, classes) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.points = points;
    this.styles = classes.map(classStyle);
    this.view = new View(points.bounds, () => this.redraw());
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
  }

  /** Zoom; the selected point moves to the centre. @param {number} factor */
  zoomOnSelected(factor) {
    const { centre } = this.view;
    const { x, y } = this.selected < 0 ? centre : this.position(this.selected);
    this.view.move(centre.x - x, centre.y - y);
    this.view.zoom(factor);
  }

  /** @param {number} point */
  position(point) {
    return this.view.toPixels(this.points.x[point], this.points.y[point]);
  }

  /** Return the nearest point within a radius, or -1. @param {Position} position */
  pointAt(position, radius = POINTER_RADIUS) {
    const { x, y } = this.view.toPlane(position);
    return this.points.nearest(x, y, radius / this.view.scale);
  }

  /** @param {number} point -1 for none @param {Selection["input"]} [input] */
  select(point, input = "mouse") {
    if (point === this.selected && input !== "keyboard") return;
    this.selected = point;
    this.redraw();
    this.onSelect(point < 0 ? null : { point, ...this.position(point), input });
  }

  /** Draw in the next frame. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Return the size of a point in CSS pixels; it grows with the zoom. */
  pointSize() {
    const { width, height, scale, fitScale } = this.view;
    const spacing = Math.sqrt((width * height) / Math.max(1, this.points.count));
    const size = Math.min(9, Math.max(2.5, spacing * 0.3));
    return Math.min(14, size * Math.max(1, scale / fitScale) ** 0.45);
  }

  draw() {
    const { context, points, pixelRatio } = this;
    const { scale, left, top, width, height } = this.view;
    const size = this.pointSize();
    const half = size / 2;
    context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    const styles = size < SHAPE_SIZE ? [] : this.styles;
    const sprites = styles.map((style) => classSprite(style, size, pixelRatio));
    const { dimmed } = points;
    for (const dim of dimmed ? [1, 0] : [0]) {
      context.globalAlpha = dim ? DIMMED : size < SHAPE_SIZE ? 0.8 : 0.92;
      points.forEachSlice(SLICES, (label, members) => {
        const sprite = sprites[label];
        context.fillStyle = this.styles[label].colour;
        for (const point of members) {
          const x = points.x[point] * scale + left;
          const y = points.y[point] * scale + top;
          if (x < -size || y < -size || x > width + size || y > height + size) continue;
          if (dimmed && dimmed[point] !== dim) continue;
          if (sprite) context.drawImage(sprite, x - half - 1, y - half - 1, size + 2, size + 2);
          else context.fillRect(x - half, y - half, size, size);
        }
      });
    }
    context.globalAlpha = 1;
    if (this.selected >= 0) {
      const { x, y } = this.position(this.selected);
      context.strokeStyle = getComputedStyle(this.canvas).color;
      context.lineWidth = 2.5;
      context.beginPath();
      context.arc(x, y, half + 5, 0, 2 * Math.PI);
      context.stroke();
    }
    this.canvas.dataset.drawn = `${points.count}`;
  }

  listen() {
    const { canvas, pointers, view } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const speed = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 0.0018 : 0.05;
      view.zoom(Math.exp(-event.deltaY * speed), offset(event));
      this.select(-1);
    }, { passive: false });
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, offset(event));
      this.dragged = pointers.size > 1;
    };
    canvas.onpointermove = (event) => this.onPointerMove(event);
    canvas.onpointerup = (event) => {
      pointers.delete(event.pointerId);
      if (this.dragged || event.button !== 0) return;
      const isMouse = event.pointerType === "mouse";
      const point = this.pointAt(offset(event), isMouse ? POINTER_RADIUS : 2 * POINTER_RADIUS);
      if (!isMouse) this.select(point, "touch");
      else if (point >= 0) this.onOpen(point);
    };
    canvas.onpointercancel = (event) => pointers.delete(event.pointerId);
    canvas.onpointerleave = (event) => { if (event.pointerType === "mouse") this.select(-1); };
    canvas.onkeydown = (event) => this.onKeyDown(event);
  }

  /** @param {PointerEvent} event */
  onPointerMove({ pointerId, pointerType, offsetX: x, offsetY: y }) {
    const before = this.pointers.get(pointerId);
    if (!before && pointerType === "mouse") this.select(this.pointAt({ x, y }));
    if (!before) return;
    if (!this.dragged && distance({ x, y }, before) < DRAG_DISTANCE) return;
    this.dragged = true;
    this.select(-1);
    const other = [...this.pointers].find(([id]) => id !== pointerId)?.[1];
    this.pointers.set(pointerId, { x, y });
    if (other) {
      const factor = Math.max(1, distance({ x, y }, other)) / Math.max(1, distance(before, other));
      this.view.zoom(factor, { x: (x + other.x) / 2, y: (y + other.y) / 2 });
    }
    const fingers = other ? 2 : 1;
    this.view.move((x - before.x) / fingers, (y - before.y) / fingers);
  }

  /** @param {KeyboardEvent} event */
  onKeyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && this.selected >= 0) this.onOpen(this.selected);
    const { view } = this;
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowLeft: () => view.move(KEY_STEP, 0), ArrowRight: () => view.move(-KEY_STEP, 0),
      ArrowUp: () => view.move(0, KEY_STEP), ArrowDown: () => view.move(0, -KEY_STEP),
      "+": () => this.zoomOnSelected(KEY_ZOOM), "=": () => this.zoomOnSelected(KEY_ZOOM),
      "-": () => this.zoomOnSelected(1 / KEY_ZOOM), 0: () => view.fit(),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
    this.select(this.pointAt(view.centre, Math.max(view.width, view.height)), "keyboard");
  }
}

/** @param {MouseEvent} event */
const offset = (event) => ({ x: event.offsetX, y: event.offsetY });
