// A colour and a shape for each class: a class is never marked by colour alone.

import { el, isolated, span } from "./dom.js";

export const NO_CLASS = "no class"; // shown in place of none
// Okabe and Ito's palette, with grey for black, then colours of Paul Tol's muted one.
const PALETTE = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#8c8c8c",
  "#882255", "#44aa99", "#999933", "#6a51c9", "#ddcc77", "#117733", "#aa4499", "#88ccee",
];
const GOLDEN_ANGLE = 137.508; // degrees
// Round, square, triangle and diamond, in a square of side 12.
const SHAPES = [
  "M6 1a5 5 0 0 1 0 10a5 5 0 0 1 0-10z", "M1.5 1.5h9v9h-9z",
  "M6 .8l5.4 9.8h-10.8z", "M6 .5l5.5 5.5-5.5 5.5-5.5-5.5z",
];
const CROSS = "M4.5 1h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z";

const indices = /** @type {Map<string, number>} */ (new Map());

/** Number classes in order; those that have a number keep it. @param {string[]} classes */
export function registerClasses(classes) {
  for (const name of classes) if (!indices.has(name)) indices.set(name, indices.size);
}

/** @param {Class} name */
export function classStyle(name) {
  if (name === null) return { colour: "#8f8f8f", shape: CROSS };
  registerClasses([name]);
  const index = indices.get(name) ?? 0;
  const colour = PALETTE[index] ?? `hsl(${Math.round(index * GOLDEN_ANGLE) % 360} 55% 50%)`;
  return { colour, shape: SHAPES[index % SHAPES.length] };
}

/** @param {Class} name */
export function swatch(name) {
  const { colour, shape } = classStyle(name);
  const mark = el("span", { class: "swatch", "aria-hidden": "true" });
  Object.assign(mark.style, { backgroundColor: colour, clipPath: `path("${shape}")` });
  return mark;
}

/** @param {Class} name */
export const classLabel = (name) =>
  span(name === null ? "class none" : "class", swatch(name), isolated(name ?? NO_CLASS));

/** Draw the mark of a class for a canvas; size and margin of 1 are in CSS pixels. @type {Sprite} */
export function classSprite({ colour, shape }, size, pixelRatio) {
  const side = Math.ceil((size + 2) * pixelRatio);
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  if (context === null) return null;
  const path = new Path2D(shape);
  context.scale(side / 12, side / 12);
  context.fillStyle = colour;
  context.fill(path);
  context.lineWidth = 0.8;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.stroke(path);
  return canvas;
}
