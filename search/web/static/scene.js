// Draws the points near the view: few one by one, many as their density.

import { classSprite } from "./colours.js";

export const MOST_POINTS = 15000; // that are drawn one by one
const MARGIN = 0.25; // of the view on each side that is prepared, too
const CELL = 2; // CSS pixels of a cell of the density
const SHARPER = 2; // zoom from which on the density is counted anew while the view moves
const SLICES = 16; // parts of each class that are drawn in turn
const DIMMED = 0.1; // opacity
const SHAPE_SIZE = 5; // CSS pixels from which on a point has the shape of its class
const EVERYWHERE = { left: -Infinity, right: Infinity, top: -Infinity, bottom: Infinity };

export class Scene {
  rect = EVERYWHERE; // that is prepared, in the plane
  scale = 0; // of the view that it was prepared for
  members = new Uint32Array(0);
  slices = /** @type {{ label: number, end: number }[]} */ ([]); // of members
  density = /** @type {OffscreenCanvas | null} */ (null);
  visible = /** @type {boolean[]} */ ([]);
  dimmed = /** @type {Uint8Array | null} */ (null);

  /** @param {Points} points @param {Style[]} styles */
  constructor(points, styles) {
    this.points = points;
    this.styles = styles;
    this.colours = rgbOf(styles.map(({ colour }) => colour));
  }

  /** Prepare for a view. @param {View} view */
  prepare(view, sharp = false) {
    const { points, rect } = this;
    const seen = boundsOf(view, 0);
    const { left, right, top, bottom } = points.bounds;
    const zoom = this.density === null ? 1 : view.scale / this.scale;
    const holds = Math.max(seen.left, left) >= rect.left && Math.min(seen.right, right) <= rect.right
      && Math.max(seen.top, top) >= rect.top && Math.min(seen.bottom, bottom) <= rect.bottom
      && this.dimmed === points.dimmed
      && points.visible.every((one, label) => one === this.visible[label]);
    if (holds && (sharp ? zoom === 1 : zoom <= SHARPER)) return;
    this.visible = points.visible.slice();
    this.dimmed = points.dimmed;
    this.scale = view.scale;
    this.rect = points.count <= MOST_POINTS ? EVERYWHERE : boundsOf(view, MARGIN);
    this.density = this.take() ? null : this.count(view);
  }

  /** Take the near points in drawing order. Return false if there are too many. */
  take() {
    const { points: { x, y }, rect: { left, right, top, bottom } } = this;
    const members = new Uint32Array(MOST_POINTS);
    this.slices = [];
    let size = 0;
    this.points.forEachSlice(SLICES, (label, start, end) => {
      for (let i = start; i < end && size <= MOST_POINTS; i += 1) {
        if (x[i] < left || x[i] > right || y[i] < top || y[i] > bottom) continue;
        members[size++] = i;
      }
      this.slices.push({ label, end: size });
    });
    this.members = members.subarray(0, size);
    return size <= MOST_POINTS;
  }

  /** Return the points' mean colour, the more opaque the more there are. @param {View} view */
  count({ scale }) {
    const { points, colours, rect, dimmed } = this;
    const { x, y } = points;
    const cells = scale / CELL; // per unit of the plane
    const width = Math.ceil((rect.right - rect.left) * cells);
    const height = Math.ceil((rect.bottom - rect.top) * cells);
    const [red, green, blue, weights] = [0, 1, 2, 3].map(() => new Float32Array(width * height));
    let most = 0;
    points.forEachSlice(1, (label, start, end) => {
      const [r, g, b] = colours.subarray(4 * label);
      for (let i = start; i < end; i += 1) {
        const column = (x[i] - rect.left) * cells;
        const row = (y[i] - rect.top) * cells;
        if (!(column >= 0 && column < width && row >= 0 && row < height)) continue;
        const weight = dimmed?.[i] ? 0.02 : 1;
        const cell = (row | 0) * width + (column | 0);
        red[cell] += weight * r;
        green[cell] += weight * g;
        blue[cell] += weight * b;
        weights[cell] += weight;
        if (weights[cell] > most) most = weights[cell];
      }
    });
    const faint = Math.max(90, 230 - 10 * most); // opacity of one point
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let cell = 0; cell < pixels.length; cell += 1) {
      const weight = weights[cell];
      if (weight === 0) continue;
      const alpha = weight < 1 ? 25 : faint + (255 - faint) * Math.log(weight) / Math.log(most + 1);
      pixels[cell] = (alpha << 24) | ((blue[cell] / weight) << 16) | ((green[cell] / weight) << 8)
        | (red[cell] / weight);
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    return canvas;
  }

  /** Draw the points. Return whether any is in view. @type {DrawPoints} */
  draw(context, view, size, pixelRatio) {
    this.prepare(view);
    if (this.density) {
      const { width, height } = this.density;
      const { x, y } = view.toPixels(this.rect.left, this.rect.top);
      const zoom = (CELL * view.scale) / this.scale;
      context.drawImage(this.density, x, y, width * zoom, height * zoom);
      return true;
    }
    const { scale, left, top, width, height } = view;
    const { points, members, dimmed } = this;
    const shaped = size >= SHAPE_SIZE;
    const sprites = /** @type {(OffscreenCanvas | null)[]} */ ([]);
    const half = size / 2;
    let drawn = 0;
    for (const dim of dimmed ? [1, 0] : [0]) {
      context.globalAlpha = dim ? DIMMED : shaped ? 0.92 : 0.8;
      let at = 0;
      for (const { label, end } of this.slices) {
        if (at === end) continue;
        if (shaped) sprites[label] ??= classSprite(this.styles[label], size, pixelRatio);
        const sprite = sprites[label];
        context.fillStyle = this.styles[label].colour;
        for (; at < end; at += 1) {
          const point = members[at];
          const x = points.x[point] * scale + left;
          const y = points.y[point] * scale + top;
          if (x < -size || y < -size || x > width + size || y > height + size) continue;
          if (dimmed && dimmed[point] !== dim) continue;
          drawn += 1;
          if (sprite) context.drawImage(sprite, x - half - 1, y - half - 1, size + 2, size + 2);
          else context.fillRect(x - half, y - half, size, size);
        }
      }
    }
    context.globalAlpha = 1;
    return drawn > 0;
  }
}

/** Return what a view shows of the plane, and a margin. @param {View} view @param {number} margin */
function boundsOf(view, margin) {
  const [dx, dy] = [margin * view.width, margin * view.height];
  const { x: left, y: top } = view.toPlane({ x: -dx, y: -dy });
  const { x: right, y: bottom } = view.toPlane({ x: view.width + dx, y: view.height + dy });
  return { left, right, top, bottom };
}

/** Return red, green, blue and opacity, 0 to 255. @param {string[]} colours */
function rgbOf(colours) {
  const [width, height] = [1024, Math.ceil(colours.length / 1024) || 1];
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (context === null) return new Uint8ClampedArray(4 * colours.length);
  colours.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(i % width, Math.floor(i / width), 1, 1);
  });
  return context.getImageData(0, 0, width, height).data;
}
