// Draws points on a canvas, moves and enlarges the view; knows nothing of images.

import { look } from "./colours.js";

const NEAR = 14; // pixels within which a pointer means a point
const STEP = 80; // pixels per arrow key
const MARGIN = 28;
const SLICES = 16; // parts of each class drawn in turn, so that none hides another as a whole
const SPRITE = 5; // from this size on, points have their class's shape and an edge

export class Canvas {
  constructor(canvas, points, classes, { onPoint, onPick }) {
    Object.assign(this, { canvas, points, classes, onPoint, onPick });
    this.context = canvas.getContext("2d");
    this.looks = classes.map(look);
    this.point = -1;
    this.pointers = new Map();
    this.waiting = false;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.resize();
  }

  // The view: a point (x, y) is drawn at (x * scale + left, y * scale + top) in CSS pixels.

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === 0) return;
    const first = this.width === undefined;
    this.ratio = devicePixelRatio || 1;
    [this.width, this.height] = [clientWidth, clientHeight];
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    if (first || this.scale === this.whole) this.showAll();
    this.redraw();
  }

  showAll() {
    const { left, right, top, bottom } = this.points.box;
    const wide = (this.width - 2 * MARGIN) / Math.max(right - left, 1e-3);
    const high = (this.height - 2 * MARGIN) / Math.max(bottom - top, 1e-3);
    this.whole = this.scale = Math.max(1, Math.min(wide, high));
    this.left = (this.width - (left + right) * this.scale) / 2;
    this.top = (this.height - (top + bottom) * this.scale) / 2;
    this.redraw();
  }

  move(right, down) {
    this.left += right;
    this.top += down;
    this.redraw();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(this.whole * 200, Math.max(this.whole / 2, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.redraw();
  }

  at(x, y, near = NEAR) {
    const { points, scale, left, top } = this;
    return points.nearest((x - left) / scale, (y - top) / scale, near / scale);
  }

  choose(point, how) {
    if (point === this.point) return;
    this.point = point;
    this.redraw();
    this.tell(how);
  }

  tell(how) {
    const { points, point, scale, left, top } = this;
    if (point < 0) this.onPoint(-1);
    else this.onPoint(point, points.x[point] * scale + left, points.y[point] * scale + top, how);
  }

  // Drawing, once per frame at most

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  size() {
    const room = Math.sqrt((this.width * this.height) / Math.max(1, this.points.count));
    const usual = Math.min(9, Math.max(2.5, room * 0.3));
    return Math.min(14, usual * Math.max(1, this.scale / this.whole) ** 0.45);
  }

  draw() {
    const { context, points, scale, left, top, width, height, ratio } = this;
    const size = this.size();
    const half = size / 2;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.globalAlpha = size < SPRITE ? 0.8 : 0.92;
    const sprites = this.classes.map((_, kind) => (size < SPRITE ? null : this.sprite(kind, size)));
    points.slices(SLICES, (kind, start, stop) => {
      const sprite = sprites[kind];
      context.fillStyle = this.looks[kind].colour;
      for (let at = start; at < stop; at += 1) {
        const point = points.byClass[at];
        const x = points.x[point] * scale + left;
        const y = points.y[point] * scale + top;
        if (x < -size || y < -size || x > width + size || y > height + size) continue;
        if (sprite) context.drawImage(sprite, x - half - 1, y - half - 1, size + 2, size + 2);
        else context.fillRect(x - half, y - half, size, size);
      }
    });
    context.globalAlpha = 1;
    if (this.point >= 0) this.ring(size);
    this.canvas.dataset.drawn = `${points.count}`;
  }

  ring(size) {
    const { context, points, point, scale, left, top } = this;
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(points.x[point] * scale + left, points.y[point] * scale + top, size / 2 + 5, 0, 7);
    context.stroke();
  }

  sprite(kind, size) {
    const side = Math.ceil((size + 2) * this.ratio);
    const canvas = new OffscreenCanvas(side, side);
    const context = canvas.getContext("2d");
    context.scale(side / 12, side / 12);
    const shape = new Path2D({
      round: "M6 1a5 5 0 0 1 0 10a5 5 0 0 1 0-10z", square: "M1.5 1.5h9v9h-9z",
      triangle: "M6 .8l5.4 9.8h-10.8z", diamond: "M6 .5l5.5 5.5-5.5 5.5-5.5-5.5z",
    }[this.looks[kind].shape]);
    context.fillStyle = this.looks[kind].colour;
    context.fill(shape);
    context.lineWidth = 0.8;
    context.strokeStyle = "rgb(0 0 0 / 45%)";
    context.stroke(shape);
    return canvas;
  }

  // Pointers and keys

  listen() {
    const on = (name, handle) => this.canvas.addEventListener(name, handle, { passive: false });
    const place = (event) => ({ x: event.offsetX, y: event.offsetY });
    on("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.offsetX, event.offsetY);
      this.choose(-1);
    });
    on("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
      this.moved = this.pointers.size > 1;
    });
    on("pointermove", (event) => this.dragged(event, place(event)));
    on("pointerup", (event) => {
      this.pointers.delete(event.pointerId);
      if (this.moved || event.button !== 0) return;
      const found = this.at(event.offsetX, event.offsetY, event.pointerType === "mouse" ? NEAR : 2 * NEAR);
      if (event.pointerType !== "mouse") this.choose(found, "touch");
      else if (found >= 0) this.onPick(found);
    });
    on("pointercancel", (event) => this.pointers.delete(event.pointerId));
    on("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.choose(-1);
    });
    on("keydown", (event) => this.typed(event));
  }

  dragged(event, now) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.choose(this.at(now.x, now.y), "mouse");
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (!this.moved && Math.hypot(now.x - before.x, now.y - before.y) < 5) return;
    this.moved = true;
    this.choose(-1);
    this.pointers.set(event.pointerId, now);
    if (others.length === 0) {
      this.move(now.x - before.x, now.y - before.y);
      return;
    }
    const [, other] = others[0];
    const apart = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    this.move((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  // Zooms on the chosen point, which comes to the centre.
  zoomIn(factor) {
    const { points, point, scale, left, top, width, height } = this;
    if (point >= 0) {
      this.move(width / 2 - points.x[point] * scale - left, height / 2 - points.y[point] * scale - top);
    }
    this.zoom(factor);
  }

  typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.move(STEP, 0), ArrowRight: () => this.move(-STEP, 0),
      ArrowUp: () => this.move(0, STEP), ArrowDown: () => this.move(0, -STEP),
      "+": () => this.zoomIn(1.5), "=": () => this.zoomIn(1.5), "-": () => this.zoomIn(1 / 1.5),
      0: () => this.showAll(),
    };
    if (event.key === "Enter" && this.point >= 0) {
      this.onPick(this.point);
    } else if (event.key in acts) {
      event.preventDefault();
      acts[event.key]();
      this.point = this.at(this.width / 2, this.height / 2, Math.max(this.width, this.height));
      this.tell("keys");
    }
  }
}
