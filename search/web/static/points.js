// Points in a plane: typed arrays, sorted by class for drawing, in a grid for finding.

export class Points {
  constructor({ x, y, labels, classes }) {
    this.count = x.length;
    this.x = Float32Array.from(x);
    this.y = Float32Array.from(y);
    this.labels = Uint16Array.from(labels);
    this.shown = classes.map(() => true);
    [this.byClass, this.classStarts] = sorted(this.labels, classes.length);
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count / 4)));
    const cells = Uint32Array.from(this.x, (value, i) => this.row(this.y[i]) * this.side + this.row(value));
    [this.byCell, this.cellStarts] = sorted(cells, this.side * this.side);
    this.box = bounds(this.x, this.y);
  }

  row(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side)));
  }

  // Calls draw(class, start, stop) for parts of each shown class in turn; places in byClass.
  slices(parts, draw) {
    for (let part = 0; part < parts; part += 1) {
      this.shown.forEach((shown, kind) => {
        const first = this.classStarts[kind];
        const many = this.classStarts[kind + 1] - first;
        const edge = (at) => first + Math.floor((many * at) / parts);
        if (shown) draw(kind, edge(part), edge(part + 1));
      });
    }
  }

  // The shown point nearest to a place, no farther than a radius; -1 for none.
  nearest(x, y, radius) {
    let best = -1;
    let least = radius * radius;
    for (let row = this.row(y - radius); row <= this.row(y + radius); row += 1) {
      for (let column = this.row(x - radius); column <= this.row(x + radius); column += 1) {
        const cell = row * this.side + column;
        for (let at = this.cellStarts[cell]; at < this.cellStarts[cell + 1]; at += 1) {
          const point = this.byCell[at];
          const distance = (this.x[point] - x) ** 2 + (this.y[point] - y) ** 2;
          if (distance <= least && this.shown[this.labels[point]]) {
            best = point;
            least = distance;
          }
        }
      }
    }
    return best;
  }
}

// Places sorted by key, and where each key starts among them: a counting sort.
function sorted(keys, kinds) {
  const starts = new Uint32Array(kinds + 1);
  for (const key of keys) starts[key + 1] += 1;
  for (let key = 0; key < kinds; key += 1) starts[key + 1] += starts[key];
  const next = starts.slice();
  const order = new Uint32Array(keys.length);
  keys.forEach((key, place) => { order[next[key]++] = place; });
  return [order, starts];
}

function bounds(x, y) {
  const box = { left: 1, top: 1, right: 0, bottom: 0 };
  for (let i = 0; i < x.length; i += 1) {
    box.left = Math.min(box.left, x[i]);
    box.right = Math.max(box.right, x[i]);
    box.top = Math.min(box.top, y[i]);
    box.bottom = Math.max(box.bottom, y[i]);
  }
  return box;
}
