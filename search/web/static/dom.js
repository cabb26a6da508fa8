// Builds elements. Text always becomes a text node; nothing is parsed as HTML.

/** @typedef {string | number | boolean | null | ((event: Event) => void)} Attribute */
/** @typedef {Node | string | null} Child */

/** Return the page's element with an id, which must be of a type.
 * @template {HTMLElement} [T=HTMLElement] @param {string} id @param {new () => T} type */
export function $(id, type = /** @type {new () => T} */ (HTMLElement)) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return element;
}

/** Create an element. A function is a listener: `onclick: () => ...`. False and null are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, Attribute>} [attributes] @param {...Child} children */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, `${value}`);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** @param {string} className @param {...Child} children */
export const span = (className, ...children) => el("span", { class: className }, ...children);

/** Create the path of an image. Lines may break after each folder. @param {string} text */
export const path = (text) =>
  span("path", ...text.split("/").flatMap((part, i) => (i ? ["/", el("wbr"), part] : [part])));

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/** @param {number} n @param {string} singular */
export const quantity = (n, singular, plural = `${singular}s`) =>
  `${count(n)} ${n === 1 ? singular : plural}`;
