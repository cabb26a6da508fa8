// The part of the query's picture that is searched by: drawn by mouse, finger or keys.

import { el, span } from "./dom.js";
import { ARROWS, isModified } from "./gestures.js";

const STEP = 0.02; // share of a side that an arrow key moves
const LEAST_SIDE = 9; // pixels of the picture; the server takes 8, and edges are rounded
const FIRST = { x: 0.25, y: 0.25, width: 0.5, height: 0.5 }; // of the keyboard

/** Return a part as the API takes it, in hundredths of a per cent. @param {Box} box */
export function cropText({ x, y, width, height }) {
  // Of edges, so that a part up to the last pixel is not rounded beyond it.
  const edges = [x, y, x + width, y + height].map((edge) => Math.round(edge * 1e4) / 100);
  const [left, top, right, bottom] = edges;
  return [left, top, right - left, bottom - top].map((n) => `${Number(n.toFixed(2))}%`).join();
}

/** Return a part of an address, or null. @param {string} text */
export function parseCrop(text) {
  if (!/^([\d.]+%,){3}[\d.]+%$/.test(text)) return null;
  const [x, y, width, height] = text.split("%,").map((field) => Number.parseFloat(field) / 100);
  return { x, y, width, height };
}

/** @param {Crop} crop */
export const boxOf = ({ x, y, width, height, picture_width: across, picture_height: down }) =>
  ({ x: x / across, y: y / down, width: width / across, height: height / down });

/** @type {OutlinePart} */
export function outlinePart(frame, picture, box) {
  if (!(picture instanceof HTMLImageElement)) return;
  const outline = span("part-outline");
  place(outline, box);
  cover(frame, picture, outline);
}

/** Lay a part over a picture in its frame. Return what belongs below the frame. @type {ShowPart} */
export function showPart(frame, picture, { box, onDraw, onClear }) {
  const note = el("p", { class: "fine", "aria-live": "polite" });
  const controls = box && onClear ? [el("button", { onclick: onClear }, "Whole picture")] : [];
  const isShown = picture instanceof HTMLImageElement;
  const again = isShown ? "Choose the picture again to search by a part of it." : "";
  const none = isShown && onDraw ? "Draw a rectangle on it to search by a part." : again;
  const outline = span("part-outline");
  /** @param {Box | null} next */
  const draw = (next, text = next ? `Part ${cropText(next)}` : none) => {
    note.textContent = text;
    outline.hidden = next === null;
    if (next) place(outline, next);
  };
  draw(box);
  if (isShown) {
    const button = el("button", { "aria-pressed": "false", hidden: true }, "Select a part");
    const area = cover(frame, picture, outline, () => { button.hidden = false; });
    if (onDraw) {
      controls.unshift(button);
      area.tabIndex = 0;
      area.role = "application";
      area.ariaLabel = "Part of the picture";
      area.setAttribute("aria-describedby", "part-help");
      button.onclick = () => { // a finger draws from now on
        button.ariaPressed = `${area.classList.toggle("drawing")}`;
        area.focus();
      };
      listen(area, { box, draw, onClear, take: (drawn) => {
        // A picture is never shown enlarged, so that it has at least so many pixels.
        const { naturalWidth, naturalHeight } = picture;
        const side = Math.min(drawn.width * naturalWidth, drawn.height * naturalHeight);
        if (side >= LEAST_SIDE) onDraw(drawn);
        return side >= LEAST_SIDE;
      } });
    }
  }
  return controls.length ? [note, span("row", ...controls)] : [note];
}

/** @param {HTMLElement} element @param {Box} box */
function place({ style }, { x, y, width, height }) {
  [style.left, style.top, style.width, style.height] =
    [x, y, width, height].map((share) => `${100 * share}%`);
}

/** Lay an area over a picture once it is loaded, which is as long as its square frame. @type {Cover} */
function cover(frame, picture, outline, onCovered = () => {}) {
  const area = el("div", { class: "part", hidden: true }, outline);
  const lay = () => {
    const { naturalWidth, naturalHeight } = picture;
    const longer = Math.max(naturalWidth, naturalHeight);
    if (longer === 0) return;
    const [width, height] = [naturalWidth / longer, naturalHeight / longer];
    place(area, { x: (1 - width) / 2, y: (1 - height) / 2, width, height });
    area.hidden = false;
    onCovered();
  };
  frame.append(area);
  picture.addEventListener("load", lay);
  if (picture.complete) lay();
  return area;
}

/** @param {HTMLElement} area @param {Drawing} drawing */
function listen(area, { box, draw, take, onClear }) {
  let start = /** @type {(Position & { id: number }) | null} */ (null);
  let current = box; // of the keys
  /** @param {Box} drawn @param {Box | null} otherwise */
  const end = (drawn, otherwise) => {
    if (!take(drawn)) draw(otherwise, "Draw a larger rectangle.");
  };
  /** @param {Box | null} next */
  const change = (next) => {
    current = next;
    draw(next);
  };
  /** @param {PointerEvent} event */
  const at = ({ clientX, clientY, pointerId: id }) => {
    const { left, top, width, height } = area.getBoundingClientRect();
    return { x: inside((clientX - left) / width), y: inside((clientY - top) / height), id };
  };
  area.onpointerdown = (event) => {
    // A finger scrolls the page unless a part is being selected.
    const scrolls = event.pointerType === "touch" && !area.classList.contains("drawing");
    if (start || event.button !== 0 || scrolls) return;
    area.setPointerCapture(event.pointerId);
    start = at(event);
  };
  area.onpointermove = (event) => {
    if (start?.id === event.pointerId) draw(between(start, at(event)));
  };
  area.onpointerup = (event) => {
    if (start?.id !== event.pointerId) return;
    const drawn = between(start, at(event));
    start = null;
    end(drawn, box);
  };
  area.onpointercancel = () => {
    start = null;
    draw(box);
  };
  area.onkeydown = (event) => {
    if (isModified(event)) return;
    const { key, shiftKey } = event;
    if (key === "Enter" && current && current !== box) end(current, current);
    else if (key === "Escape") change(box);
    else if (key === "Delete" && box) onClear?.();
    else if (key in ARROWS) change(current ? moved(current, ARROWS[key], shiftKey) : FIRST);
    else return;
    event.preventDefault();
  };
}

/** Move a part, or its lower right corner alone. @type {MovePart} */
function moved({ x, y, width, height }, by, corner) {
  const [right, down] = by.map((one) => STEP * one);
  if (!corner) {
    return { x: inside(x + right, 1 - width), y: inside(y + down, 1 - height), width, height };
  }
  const [wider, higher] = [Math.max(STEP, width + right), Math.max(STEP, height + down)];
  return { x, y, width: inside(wider, 1 - x), height: inside(higher, 1 - y) };
}

/** @param {number} share */
const inside = (share, most = 1) => Math.min(most, Math.max(0, share));

/** @param {Position} a @param {Position} b */
const between = (a, b) => ({
  x: Math.min(a.x, b.x), y: Math.min(a.y, b.y),
  width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y),
});
