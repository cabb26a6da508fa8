// A colour and a shape for each class: a class is never marked by colour alone.

import { el } from "./dom.js";

// The palette of Okabe and Ito, with grey for black, then colours of Paul Tol's muted palette.
const PALETTE = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#d55e00",
  "#56b4e9",
  "#f0e442",
  "#8c8c8c",
  "#882255",
  "#44aa99",
  "#999933",
  "#6a51c9",
  "#ddcc77",
  "#117733",
  "#aa4499",
  "#88ccee",
];

/** @typedef {"round" | "square" | "triangle" | "diamond"} Shape */
/** @typedef {{ colour: string, shape: Shape }} Style */
/** @type {Shape[]} */
const SHAPES = ["round", "square", "triangle", "diamond"];

const SHAPE_PATHS = {
  round: "M6 1a5 5 0 0 1 0 10a5 5 0 0 1 0-10z",
  square: "M1.5 1.5h9v9h-9z",
  triangle: "M6 .8l5.4 9.8h-10.8z",
  diamond: "M6 .5l5.5 5.5-5.5 5.5-5.5-5.5z",
}; // in a square of side 12

const GOLDEN_ANGLE = 137.508; // degrees

/** @type {Map<string, number>} */
const indices = new Map();

/**
 * Number classes in the order given; those that have a number keep it.
 * @param {string[]} classes
 */
export function registerClasses(classes) {
  for (const name of classes) if (!indices.has(name)) indices.set(name, indices.size);
}

/**
 * Return the colour and the shape of a class.
 * @param {string} name
 * @returns {Style}
 */
export function classStyle(name) {
  registerClasses([name]);
  const index = indices.get(name) ?? 0;
  const colour = PALETTE[index] ?? `hsl(${Math.round(index * GOLDEN_ANGLE) % 360} 55% 50%)`;
  return { colour, shape: SHAPES[index % SHAPES.length] };
}

/**
 * Create the mark of a class.
 * @param {string} name
 */
export function swatch(name) {
  const { colour, shape } = classStyle(name);
  const mark = el("span", { class: `swatch ${shape}`, "aria-hidden": "true" });
  mark.style.backgroundColor = colour;
  return mark;
}

/**
 * Draw the mark of a class for a canvas, with a margin of one CSS pixel.
 * @param {Style} style
 * @param {number} size in CSS pixels
 * @param {number} pixelRatio
 */
export function classSprite({ colour, shape }, size, pixelRatio) {
  const side = Math.ceil((size + 2) * pixelRatio);
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  if (context === null) return null;
  const path = new Path2D(SHAPE_PATHS[shape]);
  context.scale(side / 12, side / 12);
  context.fillStyle = colour;
  context.fill(path);
  context.lineWidth = 0.8;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.stroke(path);
  return canvas;
}
