// Pictures zoomed and panned in step; of a large one, what is seen is loaded.

import { $, el, span } from "./dom.js";
import { listenForGestures } from "./gestures.js";

export const BASE_SIDE = 1024; // pixels of the whole picture, which is loaded first
const MAX_SIDE = 2048; // pixels of a part
const MAX_SCALE = 16; // CSS pixels of a pixel
const REST = 150; // milliseconds without a change
const SWIPE = 60; // CSS pixels

export class Zoom {
  panes = /** @type {Pane[]} */ ([]);
  factor = 1; // 1 shows all
  x = 0; // CSS pixels from the centre of a pane to that of its picture
  y = 0;
  timer = 0;

  /** @param {HTMLElement} stage @param {Step} onSwipe of a picture that is not zoomed; 1 to the left */
  constructor(stage, onSwipe) {
    this.stage = stage;
    this.listen(onSwipe);
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  /** @param {Picture[]} pictures */
  show(pictures) {
    this.panes = pictures.map((picture) => {
      const base = el("img", { src: picture.src, alt: picture.name });
      const outline = span("part-outline");
      const frame = el("div", { class: "pane" }, base, outline);
      base.onload = () => {
        picture.width ??= base.naturalWidth;
        picture.height ??= base.naturalHeight;
        this.draw();
      };
      base.onerror = () => base.replaceWith(span("missing", "the picture cannot be had"));
      return { picture, frame, base, outline, detail: null, part: [0, 0, 0, 0] };
    });
    this.stage.replaceChildren(...this.panes.map(({ frame }) => frame));
    this.fit();
  }

  fit() {
    [this.factor, this.x, this.y] = [1, 0, 0];
    this.draw();
  }

  /** Zoom; a position from the centre stays. @type {ZoomBy} */
  zoom(factor, at = { x: 0, y: 0 }) {
    const most = Math.max(8, ...this.panes.map((pane) => MAX_SCALE / fitScale(pane)));
    const next = Math.min(most, Math.max(1, this.factor * factor));
    this.x = at.x - ((at.x - this.x) * next) / this.factor;
    this.y = at.y - ((at.y - this.y) * next) / this.factor;
    this.factor = next;
    this.draw();
  }

  /** @type {Move} */
  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.draw();
  }

  draw() {
    const places = this.panes.map((pane) => this.placeOf(pane));
    const right = Math.max(0, ...places.map(({ left }) => this.x - left)); // beyond a pane
    const down = Math.max(0, ...places.map(({ top }) => this.y - top));
    this.x = Math.min(right, Math.max(-right, this.x)); // a picture does not leave its pane
    this.y = Math.min(down, Math.max(-down, this.y));
    for (const pane of this.panes) this.place(pane);
    this.stage.dataset.zoom = this.factor.toFixed(3);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (const pane of this.panes) this.load(pane);
      const last = this.panes.at(-1);
      if (last) $("look-scale").textContent = `${Math.round(100 * this.placeOf(last).scale)} %`;
    }, REST);
  }

  /** The scale of a picture, and its edges in its pane. @param {Pane} pane */
  placeOf(pane) {
    const { frame, picture: { width = 0, height = 0 } } = pane;
    const scale = fitScale(pane) * this.factor;
    const left = (frame.clientWidth - width * scale) / 2 + this.x;
    return { scale, left, top: (frame.clientHeight - height * scale) / 2 + this.y };
  }

  /** @param {Pane} pane */
  place(pane) {
    const { picture: { width = 0, height = 0, box }, base, outline, detail, part } = pane;
    const { scale, left, top } = this.placeOf(pane);
    /** @param {HTMLElement | null} element @param {Region} at */
    const put = (element, [x, y, w, h]) => {
      if (!element) return;
      const { style } = element;
      [style.left, style.top, style.width, style.height] =
        [left + x * scale, top + y * scale, w * scale, h * scale].map((n) => `${n}px`);
      style.imageRendering = scale > 2 ? "pixelated" : ""; // pixels are seen as squares
    };
    put(base, [0, 0, width, height]);
    put(detail, part);
    outline.hidden = !box;
    if (box) put(outline, [box.x * width, box.y * height, box.width * width, box.height * height]);
  }

  /** Load what is in view where it shows more than what is there. @param {Pane} pane */
  load(pane) {
    const { frame, picture: { source, width = 0, height = 0 }, part, outline } = pane;
    const { scale, left, top } = this.placeOf(pane);
    const sharp = Math.min(1, scale * devicePixelRatio);
    if (!source || sharp * Math.max(width, height) <= BASE_SIDE) return;
    /** @param {number} margin CSS pixels @returns {Region} */
    const region = (margin) => {
      const [x, y] = [left, top].map((from) => Math.max(0, Math.floor((-from - margin) / scale)));
      const right = Math.ceil((frame.clientWidth - left + margin) / scale);
      const bottom = Math.ceil((frame.clientHeight - top + margin) / scale);
      return [x, y, Math.min(width, right) - x, Math.min(height, bottom) - y];
    };
    const [x, y, w, h] = region(0);
    const isThere = x >= part[0] && y >= part[1] && x + w <= part[0] + part[2] && y + h <= part[1] + part[3];
    if (isThere && Number(pane.detail?.dataset.sharp) >= 0.8 * sharp) return;
    const box = region(100);
    const side = Math.max(64, Math.min(MAX_SIDE, Math.ceil(sharp * Math.max(box[2], box[3]))));
    const detail = el("img", { alt: "", "data-sharp": sharp, src: `${source}?box=${box}&side=${side}` });
    pane.next = detail;
    detail.onload = () => {
      if (pane.next !== detail) return; // the view has changed
      pane.detail?.remove();
      [pane.detail, pane.part] = [detail, box];
      outline.before(detail);
      this.place(pane);
    };
  }

  /** @param {Step} onSwipe */
  listen(onSwipe) {
    const { stage } = this;
    let start = /** @type {Position | null} of one finger */ (null);
    listenForGestures(stage, {
      at: fromCentre, slack: 0,
      zoom: this.zoom.bind(this), move: this.move.bind(this),
      onPress: (event, several) => {
        start = !several && event.pointerType !== "mouse" && this.factor === 1 ? fromCentre(event) : null;
      },
      onRelease: (event) => {
        if (!start) return;
        const { x, y } = fromCentre(event);
        const [across, down] = [x - start.x, y - start.y];
        if (Math.abs(across) > Math.max(SWIPE, 2 * Math.abs(down))) onSwipe(across < 0 ? 1 : -1);
        start = null;
      },
    });
    stage.ondblclick = (event) => this.factor > 1 ? this.fit() : this.zoom(3, fromCentre(event));
  }
}

/** @param {Pane} pane */
function fitScale({ frame, picture: { width, height } }) {
  if (!width || !height) return 1;
  return Math.min(frame.clientWidth / width, frame.clientHeight / height) || 1;
}

/** @param {MouseEvent} event */
function fromCentre({ target, clientX, clientY }) {
  const { left, top, width, height } = /** @type {Element} */ (target).getBoundingClientRect();
  return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
}
