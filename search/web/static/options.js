// The form of the options: which hits, and what to show of each.

import { $, count, el, safe } from "./dom.js";
import { OPTION_NAMES } from "./state.js";

const form = $("options");
const where = $("option-where");
const fault = $("where-fault");
const MOST_IN_MENU = 30; // classes
const WITHOUT_SPECIMENS = /** @type {const} */ (["one_per", "not_same"]);
const GROUPINGS = /** @type {const} */ ([...WITHOUT_SPECIMENS, "together_by"]);

/** @type {(name: OptionName) => HTMLInputElement | HTMLSelectElement} */
const control = (name) => /** @type {any} */ (form.elements.namedItem(name));

/** @param {(event: Event) => void} onChange */
export function listenForOptions(onChange) {
  $("show-choices").onchange = () => { // as the API takes them: quoted as in CSV where needed
    const names = boxes().filter((box) => box.checked).map((box) => box.value);
    control("show").value = names.map((name) =>
      /[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name).join();
  };
  form.onchange = form.onsubmit = onChange;
  $("area-clear").onclick = () => {
    control("area").value = "";
    $("area-note").hidden = true;
    form.requestSubmit();
  };
  where.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    form.requestSubmit();
  };
}

/** Return null where an option is invalid, which is told. */
export function readOptions() {
  if (control("together_by").value) for (const name of WITHOUT_SPECIMENS) control(name).value = "";
  disableOthers();
  if (!form.reportValidity()) return null;
  return Object.fromEntries(OPTION_NAMES.map((name) => [name, control(name).value.trim()]));
}

/** @param {OptionName} name */
export const labelOf = (name) =>
  form.querySelector(`label[for="option-${name}"]`)?.textContent ?? name;

/** @param {Options} options */
export function fillOptions(options) {
  clearFault();
  for (const name of OPTION_NAMES) choose(name, options[name] ?? "");
  $("area-note").hidden = !options.area;
  const set = OPTION_NAMES.filter((name) => options[name]).map((name) => {
    return name === "without_wrong" ? "without the wrong ones" : `${labelOf(name).toLowerCase()} ${options[name]}`;
  });
  $("filters-set").textContent = set.length ? safe(`: ${set.join(", ")}`) : "";
  disableOthers();
  tickShown();
}

/** Specimens are not ranked with some of the options. */
function disableOthers() {
  const together = control("together_by").value !== "";
  for (const name of WITHOUT_SPECIMENS) control(name).disabled = together;
}

/** @param {Collection} collection */
export function offerFields({ classes, facts, datasets }) {
  if (classes.length > MOST_IN_MENU) offerTyping(classes);
  else {
    replaceOptions("class", classes.map((one) =>
      new Option(`${safe(one.name)} (${count(one.count)})`, one.name)));
  }
  const names = facts.filter(({ kind }) => kind !== "geo").map(({ name }) => name);
  for (const name of GROUPINGS) {
    replaceOptions(name, ["class", "dataset", ...names].map((one) =>
      new Option(one === "dataset" ? "data set" : safe(one), one)));
  }
  const several = datasets.length > 1 ? ["dataset"] : [];
  const shown = [...facts.map(({ name }) => name), ...several, "width", "height"];
  $("show-choices").replaceChildren(...shown.map((name) =>
    el("label", {}, el("input", { type: "checkbox", value: name }), name)));
  tickShown();
}

/** Let classes be found by a part of the name. @param {Count[]} classes */
function offerTyping(classes) {
  const known = new Map(classes.map(({ name }) => [name.toLocaleLowerCase(), name]));
  const input = el("input", {
    id: "option-class", name: "class", list: "classes", autocomplete: "off", dir: "auto",
    placeholder: "any, or type",
  });
  input.value = control("class").value;
  input.addEventListener("change", () => {
    const text = input.value.trim().toLocaleLowerCase();
    const found = [...known.keys()].filter((one) => one.includes(text));
    const chosen = known.get(text) ?? (found.length === 1 ? known.get(found[0]) : undefined);
    if (text && chosen !== undefined) input.value = chosen;
    input.setCustomValidity(text === "" || chosen !== undefined ? ""
      : `${count(found.length)} classes have this in their name: choose one of the list.`);
  });
  control("class").replaceWith(input, el("datalist", { id: "classes" }, ...classes.map(({ name }) =>
    el("option", { value: name }))));
}

/** Replace all but the first option. @type {ReplaceOptions} */
function replaceOptions(name, entries) {
  const field = control(name);
  if (!(field instanceof HTMLSelectElement)) return;
  const { value } = field;
  field.replaceChildren(field.options[0], ...entries);
  choose(name, value);
}

/** Choose a value, even one that the collection lacks. @type {Choose} */
function choose(name, value) {
  const field = control(name);
  field.value = value;
  if (field.value !== value && field instanceof HTMLSelectElement) {
    field.add(new Option(safe(value), value, false, true));
  }
}

const boxes = () => [...$("show-choices").querySelectorAll("input")];

function tickShown() {
  const names = [...control("show").value.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]+))/g)]
    .map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain.trim());
  for (const box of boxes()) box.checked = names.includes(box.value);
  $("show-fields").open = names.length > 0;
}

/** @param {string} condition */
export function addCondition(condition) {
  const before = where.value.trim();
  const kept = /(^|[\s)])or([\s(]|$)/i.test(before) ? `(${before})` : before;
  where.value = before ? `${kept} and ${condition}` : condition;
  form.requestSubmit();
}

/** Show where an expression fails. @param {string} reason @param {number} place */
export function showFault(reason, place) {
  $("filters").open = true; // what is closed cannot be seen
  const characters = [...where.value.trim()];
  const rest = characters.slice(place).join("");
  fault.replaceChildren(
    el("code", {}, characters.slice(Math.max(0, place - 30), place).join(""),
      el("mark", {}, rest.slice(0, 30) || "…")), el("br"), reason);
  where.ariaInvalid = "true";
}

export function clearFault() {
  fault.replaceChildren();
  where.ariaInvalid = null;
}
