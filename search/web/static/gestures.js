// Gestures of views: drag, wheel and pinch, and the keys that move and zoom.

const KEY_STEP = 80; // CSS pixels that an arrow key moves
const KEY_ZOOM = 1.5;

/** The directions of the arrow keys. @type {Record<string, [x: number, y: number]>} */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {Position} a @param {Position} b */
export const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** Whether a key means something else to the browser. @param {KeyboardEvent} event */
export const isModified = ({ ctrlKey, metaKey, altKey }) => ctrlKey || metaKey || altKey;

/** @param {MouseEvent} event */
export const offset = ({ offsetX: x, offsetY: y }) => ({ x, y });

/** @param {HTMLElement} element @param {Gestures} gestures */
export function listenForGestures(element, { at, slack, zoom, move, onPress, onRelease }) {
  const pressed = /** @type {Map<number, Position>} by pointer */ (new Map());
  let dragged = false;
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const speed = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 0.0018 : 0.05;
    zoom(Math.exp(-event.deltaY * speed), at(event));
  }, { passive: false });
  element.onpointerdown = (event) => {
    if (event.button !== 0) return;
    /** @type {Element} */ (event.target).setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, at(event));
    dragged = pressed.size > 1;
    onPress?.(event, dragged);
  };
  element.addEventListener("pointermove", (event) => {
    const before = pressed.get(event.pointerId);
    const now = at(event);
    if (!before || (!dragged && distance(now, before) < slack)) return;
    dragged = true;
    const other = [...pressed].find(([id]) => id !== event.pointerId)?.[1];
    pressed.set(event.pointerId, now);
    if (other) {
      const factor = Math.max(1, distance(now, other)) / Math.max(1, distance(before, other));
      zoom(factor, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
    const fingers = other ? 2 : 1;
    move((now.x - before.x) / fingers, (now.y - before.y) / fingers);
  });
  element.onpointerup = (event) => {
    if (pressed.delete(event.pointerId)) onRelease(event, dragged);
  };
  element.onlostpointercapture = (event) => pressed.delete(event.pointerId);
}

/** Do what a key means for a view, if anything. @param {KeyboardEvent} event @param {Movable} view */
export function followKey(event, view, zoom = view.zoom.bind(view)) {
  const { key } = event;
  if (key === "0") view.fit();
  else if (key === "-") zoom(1 / KEY_ZOOM);
  else if (key === "+" || key === "=") zoom(KEY_ZOOM);
  else if (key in ARROWS) view.move(-KEY_STEP * ARROWS[key][0], -KEY_STEP * ARROWS[key][1]);
  else return false;
  event.preventDefault();
  return true;
}
