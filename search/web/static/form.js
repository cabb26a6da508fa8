// The form of the options: which hits a search shows.

import { $, count, el } from "./dom.js";
import { OPTION_NAMES } from "./state.js";

/** @import { Count } from "./api.js" */
/** @import { OptionName, Options } from "./state.js" */

const form = $("options", HTMLFormElement);
const classes = $("option-class", HTMLSelectElement);

/** @param {OptionName} name */
function control(name) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ ($(`option-${name}`));
}

/**
 * Fill the form. It is opened where an option differs from its default.
 * @param {Options} options
 */
export function fillForm(options) {
  for (const name of OPTION_NAMES) {
    const value = options[name] ?? "";
    if (name === "class") chooseClass(value);
    else control(name).value = value;
    if (value !== "") $("filters", HTMLDetailsElement).open = true;
  }
}

/**
 * List the classes of the collection, and choose one.
 * @param {Count[]} counts
 * @param {string} chosen
 */
export function fillClasses(counts, chosen) {
  const entries = counts.map(({ name, count: n }) =>
    el("option", { value: name }, `${name} (${count(n)})`),
  );
  classes.replaceChildren(classes.options[0], ...entries);
  chooseClass(chosen);
}

/**
 * Choose a class, even one of an address that the collection lacks.
 * @param {string} name
 */
function chooseClass(name) {
  if (![...classes.options].some((option) => option.value === name)) {
    classes.append(el("option", { value: name }, name));
  }
  classes.value = name;
}

/**
 * Call back with the options when the form changes and is valid.
 * @param {(options: Options) => void} onChange
 */
export function listenForOptions(onChange) {
  /** @param {Event} event */
  const listener = (event) => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    onChange(Object.fromEntries(OPTION_NAMES.map((name) => [name, control(name).value])));
  };
  form.addEventListener("change", listener);
  form.addEventListener("submit", listener);
}
