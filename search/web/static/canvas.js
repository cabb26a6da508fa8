// Draws points, and finds the one under the pointer or in the centre.

import { classStyle } from "./colours.js";
import { ARROWS, followKey, isModified, listenForGestures, offset } from "./gestures.js";
import { Scene } from "./scene.js";
import { View } from "./view.js";

const POINTER_RADIUS = 14; // CSS pixels between a pointer and the point that it selects
const DRAG_DISTANCE = 5; // CSS pixels
const REST = 150; // milliseconds without a move, after which all is drawn sharply
const HIT_RING = 7; // CSS pixels, of the radius

export class Canvas {
  marks = /** @type {Marks} */ ({ hits: [], queries: [], place: null });
  rest = 0; // the timer of it
  pixelRatio = 1;
  selected = -1;
  frame = 0; // the next one, requested

  /** @param {HTMLCanvasElement} canvas @param {Points} points @param {Class[]} classes
   * @param {OnCanvas} on */
  constructor(canvas, points, classes, on) {
    this.canvas = canvas;
    this.on = on;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.points = points;
    this.classes = classes;
    this.scene = new Scene(points, classes.map(classStyle));
    this.view = new View(points.bounds, () => this.redraw(REST));
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.resize();
  }

  /** Show other points, in the same view. @param {Points} points @param {Class[]} classes */
  load(points, classes) {
    this.points = points;
    this.classes = classes;
    this.scene = new Scene(points, classes.map(classStyle));
    this.view.bounds = points.bounds;
    this.selected = -1;
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (clientWidth === 0) return;
    this.pixelRatio = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * this.pixelRatio);
    this.canvas.height = Math.round(clientHeight * this.pixelRatio);
    this.view.resize(clientWidth, clientHeight);
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

  /** @type {Select} */
  select(point, input = "mouse") {
    if (point === this.selected && input !== "keyboard") return;
    this.selected = point;
    this.redraw();
    this.on.select(point < 0 ? null : { point, ...this.position(point), input });
  }

  /** Draw in the next frame, and sharply after a rest. @param {number} [rest] milliseconds */
  redraw(rest) {
    if (rest) {
      clearTimeout(this.rest);
      this.rest = setTimeout(() => {
        this.scene.prepare(this.view, true);
        this.redraw();
      }, rest);
    }
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** In CSS pixels; it grows with the zoom. */
  pointSize() {
    const { width, height, scale, fitScale } = this.view;
    const spacing = Math.sqrt((width * height) / Math.max(1, this.points.count));
    const size = Math.min(9, Math.max(2.5, spacing * 0.3));
    return Math.min(14, size * Math.max(1, scale / fitScale) ** 0.45);
  }

  draw() {
    const { context, points, pixelRatio, view } = this;
    context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const size = this.pointSize();
    const anyInView = this.scene.draw(context, view, size, pixelRatio);
    this.drawMarks();
    if (this.selected >= 0) this.ring(this.position(this.selected), size / 2 + 5);
    this.canvas.dataset.drawn = `${points.count}`;
    this.canvas.dataset.as = this.scene.density ? "density" : "points";
    this.on.draw(anyInView);
  }

  drawMarks() {
    const { hits, queries, place } = this.marks;
    for (const hit of hits) this.ring(this.position(hit), HIT_RING);
    const places = queries.map((query) => this.position(query));
    if (place) places.push(this.view.toPixels(place.x, place.y));
    const [near, far] = [HIT_RING, 3 * HIT_RING];
    for (const { x, y } of places) {
      this.ring({ x, y }, 2 * HIT_RING);
      this.stroke((context) => {
        for (const [right, down] of Object.values(ARROWS)) {
          context.moveTo(x + near * right, y + near * down);
          context.lineTo(x + far * right, y + far * down);
        }
      });
    }
  }

  /** @param {Position} at @param {number} radius */
  ring({ x, y }, radius) {
    this.stroke((context) => context.arc(x, y, radius, 0, 2 * Math.PI));
  }

  /** Draw a line seen on any ground. @param {Trace} trace */
  stroke(trace) {
    const { context, canvas } = this;
    const { color, backgroundColor } = getComputedStyle(canvas);
    context.beginPath();
    trace(context);
    for (const [style, width] of /** @type {const} */ ([[backgroundColor, 5], [color, 2.5]])) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.stroke();
    }
  }

  listen() {
    const { canvas, view } = this;
    listenForGestures(canvas, {
      at: offset, slack: DRAG_DISTANCE,
      zoom: (factor, at) => {
        this.select(-1);
        view.zoom(factor, at);
      },
      move: (x, y) => {
        this.select(-1);
        view.move(x, y);
      },
      onRelease: (event, dragged) => {
        if (dragged) return;
        const isMouse = event.pointerType === "mouse";
        const point = this.pointAt(offset(event), (isMouse ? 1 : 2) * POINTER_RADIUS);
        if (!isMouse) this.select(point, "touch");
        else if (point >= 0) this.on.open(point);
      },
    });
    canvas.onpointermove = (event) => {
      const hovers = event.pointerType === "mouse" && event.buttons === 0;
      if (hovers) this.select(this.pointAt(offset(event)));
    };
    canvas.onpointerleave = ({ pointerType }) => { if (pointerType === "mouse") this.select(-1); };
    canvas.onkeydown = (event) => {
      if (isModified(event)) return;
      if (event.key === "Enter" && this.selected >= 0) this.on.open(this.selected);
      /** Zoom on what is selected. @param {number} factor */
      const zoom = (factor) => {
        const { centre } = view;
        const { x, y } = this.selected < 0 ? centre : this.position(this.selected);
        view.move(centre.x - x, centre.y - y);
        view.zoom(factor);
      };
      if (followKey(event, view, zoom)) {
        this.select(this.pointAt(view.centre, Math.max(view.width, view.height)), "keyboard");
      }
    };
  }
}
