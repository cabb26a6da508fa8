// Points in a plane as typed arrays: sorted by class to be drawn, and by grid cell to be found.

const POINTS_PER_CELL = 4;
export const STEPS = 65535; // the greatest coordinate of a map

/** @param {ArrayBuffer} buffer of the API @returns {PlainMap} */
export function readMap(buffer) {
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const count = (buffer.byteLength - start) / 4;
  const column = (/** @type {number} */ at) => new Uint16Array(buffer, start + 2 * count * at, count);
  return { ...head, x: column(0), y: column(1) };
}

export class Points {
  /** @param {PlainMap} map */
  constructor({ x, y, sizes, drawing, tag }) {
    this.count = x.length;
    this.drawing = drawing;
    this.tag = tag;
    this.x = new Float32Array(x).map((step) => step / STEPS);
    this.y = new Float32Array(y).map((step) => step / STEPS);
    this.visible = sizes.map(() => true);
    this.dimmed = /** @type {Uint8Array | null} 1 for points that are hardly shown */ (null);
    this.starts = new Uint32Array(sizes.length + 1);
    this.labels = new Uint32Array(this.count);
    sizes.forEach((size, label) => {
      this.starts[label + 1] = this.starts[label] + size;
      this.labels.fill(label, this.starts[label], this.starts[label + 1]);
    });
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count / POINTS_PER_CELL)));
    const cells = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i += 1) {
      cells[i] = this.cell(this.y[i]) * this.side + this.cell(this.x[i]);
    }
    this.bounds = boundsOf(this.x, this.y);
    this.byCell = groupBy(cells, this.side * this.side);
  }

  /** Dim the points whose bit is not set. @param {string | null} mask in base64, null for none */
  mark(mask) {
    const bytes = mask === null ? null : atob(mask);
    this.dimmed = bytes === null ? null : new Uint8Array(this.count).map((_, i) =>
      ((bytes.charCodeAt(i >> 3) >> (i & 7)) & 1) ^ 1);
  }

  /** The row or the column of a coordinate. @param {number} value */
  cell(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side)));
  }

  /** @param {number} label */
  classSize(label) {
    return this.starts[label + 1] - this.starts[label];
  }

  /** @param {number} point */
  isShown(point) {
    return this.visible[this.labels[point]] && !this.dimmed?.[point];
  }

  /** Call `take` with a part of each visible class in turn, so that no class covers another whole.
   * @param {number} parts @param {(label: number, start: number, end: number) => void} take */
  forEachSlice(parts, take) {
    for (let part = 0; part < parts; part += 1) {
      this.visible.forEach((visible, label) => {
        if (!visible) return;
        const size = this.classSize(label);
        const edge = (/** @type {number} */ i) => this.starts[label] + Math.floor((size * i) / parts);
        take(label, edge(part), edge(part + 1));
      });
    }
  }

  /** Return a point that is shown, or -1. @param {number} x @param {number} y @param {number} radius */
  nearest(x, y, radius) {
    const { order, starts } = this.byCell;
    let nearest = -1;
    let least = radius ** 2;
    for (let row = this.cell(y - radius); row <= this.cell(y + radius); row += 1) {
      // The cells of a row follow one another.
      const start = starts[row * this.side + this.cell(x - radius)];
      const end = starts[row * this.side + this.cell(x + radius) + 1];
      for (let i = start; i < end; i += 1) {
        const point = order[i];
        const distance = (this.x[point] - x) ** 2 + (this.y[point] - y) ** 2;
        if (distance > least || !this.isShown(point)) continue;
        nearest = point;
        least = distance;
      }
    }
    return nearest;
  }

  /** Return the points that are shown inside of a polygon, by the even-odd rule.
   * @param {Position[]} corners in the plane */
  inside(corners) {
    const { left, right, top, bottom } =
      boundsOf(corners.map(({ x }) => x), corners.map(({ y }) => y));
    const found = [];
    for (let i = 0; i < this.count; i += 1) {
      const [x, y] = [this.x[i], this.y[i]];
      if (x < left || x > right || y < top || y > bottom || !this.isShown(i)) continue;
      let inside = false;
      corners.forEach((a, n) => {
        const b = corners.at(n - 1) ?? a;
        if ((a.y > y) !== (b.y > y) && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) {
          inside = !inside;
        }
      });
      if (inside) found.push(i);
    }
    return found;
  }
}

/** Sort indices by key with a counting sort; `starts[key]` is where a key begins in `order`.
 * @param {Uint32Array} keys @param {number} keyCount */
function groupBy(keys, keyCount) {
  const starts = new Uint32Array(keyCount + 1);
  for (const key of keys) starts[key + 1] += 1;
  for (let key = 0; key < keyCount; key += 1) starts[key + 1] += starts[key];
  const next = starts.slice();
  const order = new Uint32Array(keys.length);
  for (let i = 0; i < keys.length; i += 1) order[next[keys[i]]++] = i;
  return { order, starts };
}

/** @param {Iterable<number>} xs from 0 to 1 @param {Iterable<number>} ys @returns {Bounds} */
function boundsOf(xs, ys) {
  let [left, right, top, bottom] = [1, 0, 1, 0];
  for (const x of xs) {
    left = Math.min(left, x);
    right = Math.max(right, x);
  }
  for (const y of ys) {
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { left, right, top, bottom };
}
