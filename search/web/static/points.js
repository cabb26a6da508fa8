// Points in a plane as typed arrays, sorted by class: which are shown, near or inside.

const ROWS = 256; // of the plane, in which a near point is looked for
export const STEPS = 65535; // the greatest coordinate of a map

/** @param {ArrayBuffer} buffer of the API @returns {PlainMap} */
export function readMap(buffer) {
  const start = 4 + new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
  const count = (buffer.byteLength - start) / 4;
  const [x, y] = [start, start + 2 * count].map((at) => new Uint16Array(buffer, at, count));
  return { ...head, x, y };
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
    this.rows = Array.from({ length: ROWS + 1 }, () => /** @type {number[]} */ ([])); // points by y
    this.y.forEach((y, i) => { this.rows[Math.floor(y * ROWS)].push(i); });
    this.bounds = boundsOf(this.x, this.y);
  }

  /** Dim the points whose bit is not set. @param {string | null} mask in base64, null for none */
  mark(mask) {
    const bytes = mask === null ? null : atob(mask);
    this.dimmed = bytes === null ? null : new Uint8Array(this.count).map((_, i) =>
      ((bytes.charCodeAt(i >> 3) >> (i & 7)) & 1) ^ 1);
  }

  /** @param {number} label */
  classSize(label) {
    return this.starts[label + 1] - this.starts[label];
  }

  /** @param {number} point */
  isShown(point) {
    return this.visible[this.labels[point]] && !this.dimmed?.[point];
  }

  /** Call `take` with a part of each class in turn, so that none covers another.
   * @type {ForEachSlice} */
  forEachSlice(parts, take) {
    for (let part = 0; part < parts; part += 1) {
      this.visible.forEach((visible, label) => {
        if (!visible) return;
        const size = this.classSize(label);
        const [start, end] = [part, part + 1].map((i) => this.starts[label] + Math.floor((size * i) / parts));
        take(label, start, end);
      });
    }
  }

  /** Return a point that is shown, or -1. @type {Nearest} */
  nearest(x, y, radius) {
    let nearest = -1;
    let least = radius ** 2;
    const [first, last] = [y - radius, y + radius].map((edge) => Math.max(0, Math.floor(edge * ROWS)));
    for (const row of this.rows.slice(first, last + 1)) {
      for (const i of row) {
        const distance = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
        if (distance > least || !this.isShown(i)) continue;
        nearest = i;
        least = distance;
      }
    }
    return nearest;
  }

  /** Return the points shown in a polygon, by the even-odd rule. @param {Position[]} corners */
  inside(corners) {
    const { left, right, top, bottom } =
      boundsOf(corners.map(({ x }) => x), corners.map(({ y }) => y));
    const polygon = new Path2D(`M${corners.map(({ x, y }) => [STEPS * x, STEPS * y]).join("L")}z`);
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    const found = [];
    for (let i = 0; i < this.count; i += 1) {
      const [x, y] = [this.x[i], this.y[i]];
      if (x < left || x > right || y < top || y > bottom || !this.isShown(i)) continue;
      if (context?.isPointInPath(polygon, STEPS * x, STEPS * y, "evenodd")) found.push(i);
    }
    return found;
  }
}

/** @param {Iterable<number>} xs from 0 to 1 @param {Iterable<number>} ys */
function boundsOf(xs, ys) {
  const [[left, right], [top, bottom]] = [xs, ys].map((values) => {
    let [least, greatest] = [1, 0];
    for (const value of values) {
      least = Math.min(least, value);
      greatest = Math.max(greatest, value);
    }
    return [least, greatest];
  });
  return { left, right, top, bottom };
}
