// Points in a plane as typed arrays: sorted by class to be drawn, and by grid cell to be found.

/** @import { MapAnswer } from "./api.js" */
const POINTS_PER_CELL = 4;

export class Points {
  /** @param {MapAnswer} answer positions from 0 to 1 */
  constructor({ x, y, labels, classes }) {
    this.count = x.length;
    this.x = Float32Array.from(x);
    this.y = Float32Array.from(y);
    this.labels = Uint16Array.from(labels);
    this.visible = classes.map(() => true);
    this.dimmed = /** @type {Uint8Array | null} 1 for points that are hardly shown */ (null);
    this.byClass = groupBy(labels, classes.length);
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count / POINTS_PER_CELL)));
    const cells = x.map((value, i) => this.cell(y[i]) * this.side + this.cell(value));
    this.byCell = groupBy(cells, this.side * this.side);
    const [left, right, top, bottom] = [...limits(x), ...limits(y)];
    this.bounds = { left, right, top, bottom };
  }

  /** Dim the points whose bit is not set. @param {string | null} mask in base64, null for none */
  mark(mask) {
    const bytes = mask === null ? null : atob(mask);
    this.dimmed = bytes === null ? null : Uint8Array.from({ length: this.count }, (_, i) =>
      ((bytes.charCodeAt(i >> 3) >> (i & 7)) & 1) ^ 1);
  }

  /** Return the row or the column of a coordinate. @param {number} value */
  cell(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side)));
  }

  /** @param {number} label */
  classSize(label) {
    return this.byClass.starts[label + 1] - this.byClass.starts[label];
  }

  /** Call `draw` with a part of each visible class in turn, so that no class covers another whole.
   * @param {number} parts @param {(label: number, members: Uint32Array) => void} draw */
  forEachSlice(parts, draw) {
    const { order, starts } = this.byClass;
    for (let part = 0; part < parts; part += 1) {
      this.visible.forEach((visible, label) => {
        if (!visible) return;
        const size = this.classSize(label);
        const edge = (/** @type {number} */ i) => starts[label] + Math.floor((size * i) / parts);
        draw(label, order.subarray(edge(part), edge(part + 1)));
      });
    }
  }

  /** Return a visible point that is not dimmed, or -1. @param {number} x @param {number} y @param {number} radius */
  nearest(x, y, radius) {
    const { order, starts } = this.byCell;
    let nearest = -1;
    let least = radius * radius;
    for (let row = this.cell(y - radius); row <= this.cell(y + radius); row += 1) {
      // The cells of a row follow one another.
      const start = starts[row * this.side + this.cell(x - radius)];
      const end = starts[row * this.side + this.cell(x + radius) + 1];
      for (let i = start; i < end; i += 1) {
        const point = order[i];
        const distance = (this.x[point] - x) ** 2 + (this.y[point] - y) ** 2;
        if (distance > least || this.dimmed?.[point] || !this.visible[this.labels[point]]) continue;
        nearest = point;
        least = distance;
      }
    }
    return nearest;
  }
}

/** Sort indices by key with a counting sort; `starts[key]` is where a key begins in `order`.
 * @param {number[]} keys @param {number} keyCount */
function groupBy(keys, keyCount) {
  const starts = new Uint32Array(keyCount + 1);
  for (const key of keys) starts[key + 1] += 1;
  for (let key = 0; key < keyCount; key += 1) starts[key + 1] += starts[key];
  const next = starts.slice();
  const order = new Uint32Array(keys.length);
  for (let i = 0; i < keys.length; i += 1) order[next[keys[i]]++] = i;
  return { order, starts };
}

/** @param {number[]} values */
const limits = (values) => [
  values.reduce((least, value) => Math.min(least, value), 1),
  values.reduce((most, value) => Math.max(most, value), 0),
];
