// The map of the collection: its points, its legend, and the picture of the one that is meant.

import { api } from "./api.js";
import { Canvas } from "./canvas.js";
import { swatch } from "./colours.js";
import { $, count, el, path, picture } from "./dom.js";
import { Points } from "./points.js";
import { address } from "./state.js";

let canvas = null;

export async function openMap(go, signal) {
  if (canvas) {
    canvas.choose(-1);
    return;
  }
  const drawn = await drawing(signal);
  if (canvas) return;
  const points = new Points(drawn);
  const stored = (point) => ({
    id: drawn.ids[point], path: drawn.paths[point], class: drawn.classes[drawn.labels[point]],
    picture: `/api/images/${drawn.ids[point]}`,
  });
  canvas = new Canvas($("map"), points, drawn.classes, {
    onPoint: (point, x, y, how) => tip(point < 0 ? null : stored(point), x, y, how),
    onPick: (point) => go(address({ kind: "point", id: drawn.ids[point] }, {})),
  });
  legend(drawn.classes, points);
  $("zoom-in").onclick = () => canvas.zoom(1.6);
  $("zoom-out").onclick = () => canvas.zoom(1 / 1.6);
  $("zoom-all").onclick = () => canvas.showAll();
  $("map-status").textContent = "";
}

// Asks until the map is drawn; the server lets each request wait for a while.
async function drawing(signal) {
  $("map-status").textContent = "Drawing the map; the first time takes minutes in a large collection …";
  let drawn = {};
  while (!drawn.ids) drawn = await api("/api/map", { signal });
  return drawn;
}

function legend(classes, points) {
  const toggle = (button, kind) => {
    points.shown[kind] = !points.shown[kind];
    button.setAttribute("aria-pressed", `${points.shown[kind]}`);
    canvas.choose(-1);
    canvas.redraw();
  };
  $("legend").replaceChildren(...classes.map((name, kind) => {
    const many = points.classStarts[kind + 1] - points.classStarts[kind];
    const button = el("button", { type: "button", "aria-pressed": "true" },
      swatch(name), el("span", { class: "name" }, name), el("span", { class: "number" }, count(many)));
    button.onclick = () => toggle(button, kind);
    return el("li", {}, button);
  }));
}

function tip(stored, x, y, how) {
  const box = $("tip");
  box.hidden = stored === null;
  if (box.hidden) return;
  box.classList.toggle("held", how !== "mouse");
  box.replaceChildren(
    el("a", { href: address({ kind: "point", id: stored.id }, {}) },
      el("span", { class: "frame" }, picture(stored, "")),
      el("span", { class: "class" }, swatch(stored.class), stored.class),
      path(stored),
      el("span", { class: "more" }, how === "mouse" ? "click to search from it" : "search from it")),
  );
  const { clientWidth, clientHeight } = box.parentElement;
  const left = x + 18 + box.offsetWidth < clientWidth ? x + 18 : x - 18 - box.offsetWidth;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.min(Math.max(4, y - 60), clientHeight - box.offsetHeight - 4)}px`;
}
