// What part of a plane is in view: pans, zooms, and converts positions.

const MARGIN = 28; // CSS pixels around the bounds
const MAX_ZOOM = 200; // relative to the scale at which the bounds fit
const MIN_ZOOM = 0.5;

/** A view: (x, y) is shown at (x * scale + left, y * scale + top) in CSS pixels. */
export class View {
  /** @param {Bounds} bounds @param {() => void} onChange */
  constructor(bounds, onChange) {
    this.bounds = bounds;
    this.onChange = onChange;
    this.width = this.height = this.left = this.top = 0;
    this.scale = this.fitScale = 1;
  }

  /** A view that shows all goes on to show all. @type {Move} */
  resize(width, height) {
    [this.width, this.height] = [width, height];
    if (this.scale === this.fitScale) this.fit();
    else this.onChange();
  }

  fit() {
    const { left, right, top, bottom } = this.bounds;
    const xScale = (this.width - 2 * MARGIN) / Math.max(right - left, 1e-3);
    const yScale = (this.height - 2 * MARGIN) / Math.max(bottom - top, 1e-3);
    this.scale = this.fitScale = Math.max(1, Math.min(xScale, yScale));
    this.left = (this.width - (left + right) * this.scale) / 2;
    this.top = (this.height - (top + bottom) * this.scale) / 2;
    this.onChange();
  }

  get centre() {
    return { x: this.width / 2, y: this.height / 2 };
  }

  /** @type {Move} */
  move(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.onChange();
  }

  /** Zoom; a position stays where it is. @type {ZoomBy} */
  zoom(factor, { x, y } = this.centre) {
    const [least, most] = [this.fitScale * MIN_ZOOM, this.fitScale * MAX_ZOOM];
    const scale = Math.min(most, Math.max(least, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.onChange();
  }

  /** @param {number} x @param {number} y */
  toPixels(x, y) {
    return { x: x * this.scale + this.left, y: y * this.scale + this.top };
  }

  /** @param {Position} position */
  toPlane({ x, y }) {
    return { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale };
  }
}
