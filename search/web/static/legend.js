// The legend of the map, which is searched; remembers what is hidden.

import { NO_CLASS, swatch } from "./colours.js";
import { $, count, el, isolated, span } from "./dom.js";
import { keep, recall } from "./storage.js";

const MOST_LISTED = 200; // classes in the document; the others are found by typing
const KEPT = "hidden-classes";
const input = $("legend-find");

/** @param {Class[]} classes @param {Canvas} map */
export function showLegend(classes, map) {
  const { points } = map;
  const hidden = new Set(/** @type {Class[]} */ (recall(KEPT)));
  points.visible = classes.map((name) => !hidden.has(name));
  if (points.visible.every((one) => !one)) points.visible.fill(true); // of another collection
  const labels = classes.map((_, label) => label);

  /** @param {(label: number) => boolean} isVisible */
  function set(isVisible) {
    for (const label of labels) points.visible[label] = isVisible(label);
    const others = [...hidden].filter((name) => !classes.includes(name));
    keep(KEPT, [...others, ...classes.filter((_, label) => !points.visible[label])].slice(-5000));
    map.select(-1);
    map.redraw();
    refresh();
  }

  /** @param {number} label */
  function entry(label) {
    const name = classes[label] ?? NO_CLASS;
    const toggle = el("button", {
      class: "toggle", "data-label": label,
      onclick: () => set((one) => points.visible[one] !== (one === label)),
    }, swatch(classes[label]), span("name", isolated(name)), span("number", count(points.classSize(label))));
    return el("li", {}, toggle, el("button", {
      class: "only", "aria-label": `Only ${name}`, onclick: () => set((one) => one === label),
    }, "only"));
  }

  function list() {
    const text = input.value.trim().toLocaleLowerCase();
    const found = labels.filter((i) => (classes[i] ?? NO_CLASS).toLocaleLowerCase().includes(text));
    $("legend").replaceChildren(...found.slice(0, MOST_LISTED).map(entry));
    const rest = found.length - MOST_LISTED;
    $("legend-rest").textContent = found.length === 0 ? "No class of this name."
      : rest > 0 ? `and ${count(rest)} others: type a part of the name` : "";
    refresh();
  }

  function refresh() {
    for (const button of $("legend").querySelectorAll("button")) {
      const { label } = button.dataset;
      if (label) button.ariaPressed = `${points.visible[Number(label)]}`;
    }
    const shown = points.visible.filter((one) => one).length;
    const some = shown < classes.length ? `${count(shown)} of ` : "";
    $("legend-title").textContent = `Classes (${some}${count(classes.length)})`;
  }

  input.oninput = list;
  input.hidden = classes.length <= 12;
  $("legend-all").onclick = () => set(() => true);
  $("legend-none").onclick = () => set(() => false);
  list();
}

if (matchMedia("(max-width: 40rem), (max-height: 30rem)").matches) {
  $("legend-panel").open = false;
}
