// An image of a search, indexed or uploaded; and what this session remembers of uploaded ones.

import { el, missing, picture } from "./dom.js";

const REMEMBERED = 40; // after a reload
const KEY = "geosim-pictures";
const pictures = stored();

// What is shown of an image beside its name.
export function shown(one, alt, side) {
  if (one.id) return picture(one, alt, side);
  const src = kept(one)?.src;
  if (!src) return missing(side > 128 ? why(one) : "–");
  const image = el("img", { src, alt });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
  return image;
}

function why(uploaded) {
  return kept(uploaded) ? "your browser cannot show this kind of picture" : "the picture is not kept";
}

export function nameOf(one) {
  return one.path ?? kept(one)?.name ?? "an uploaded picture";
}

// Remembers an uploaded picture, and lets go of the oldest where there is no room.
export function keep(uploaded, picture) {
  pictures.delete(uploaded.embedding);
  pictures.set(uploaded.embedding, picture);
  for (let latest = [...pictures].slice(-REMEMBERED); latest.length; latest = latest.slice(1)) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(latest));
      return;
    } catch {
      // full, or forbidden: without a picture its search is still the same
    }
  }
}

function kept(uploaded) {
  return pictures.get(uploaded.embedding) ?? null;
}

function stored() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}
