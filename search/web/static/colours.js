// A colour and a shape for each class, so that no class is told by colour alone.

import { el } from "./dom.js";

// Okabe and Ito's eight (grey for black, which a dark page swallows), then Paul Tol's muted ones.
const PALETTE = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442", "#8c8c8c",
  "#882255", "#44aa99", "#999933", "#6a51c9", "#ddcc77", "#117733", "#aa4499", "#88ccee",
];

export const SHAPES = ["round", "square", "triangle", "diamond"];

const places = new Map();

export function know(classes) {
  for (const name of classes) if (!places.has(name)) places.set(name, places.size);
}

export function look(name) {
  know([name]);
  const place = places.get(name);
  const colour = PALETTE[place] ?? `hsl(${Math.round(place * 137.508) % 360} 55% 50%)`;
  return { colour, shape: SHAPES[place % SHAPES.length] };
}

export function swatch(name) {
  const { colour, shape } = look(name);
  const mark = el("span", { class: `swatch ${shape}`, "aria-hidden": "true" });
  mark.style.backgroundColor = colour;
  return mark;
}
