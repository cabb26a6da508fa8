// Builds elements. Text always becomes a text node; nothing is parsed as HTML.

/** @import { StoredImage } from "./api.js" */
/** @typedef {string | number | boolean | null | ((event: Event) => void)} Attribute */

/**
 * Return the page's element with an id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} type the class that the element must have
 * @returns {T}
 */
export function $(id, type = /** @type {new () => T} */ (HTMLElement)) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return element;
}

/**
 * Create an element. A function is a listener: `onclick: () => ...`. False and null are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...(Node | string | null)} children
 */
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

/**
 * Create a span of a CSS class.
 * @param {string} className
 * @param {...(Node | string | null)} children
 */
export function span(className, ...children) {
  return el("span", { class: className }, ...children);
}

/**
 * Create the picture of an indexed image, at most `side` pixels long.
 * @param {StoredImage} image
 * @param {string} alt
 * @param {number} [side]
 */
export function picture(image, alt, side = 256) {
  const src = `${image.picture}?side=${side}`;
  const element = el("img", { src, alt, loading: "lazy", decoding: "async" });
  let failures = 0; // a busy server refuses pictures: ask a second time
  element.addEventListener("error", () => {
    failures += 1;
    if (failures > 1) element.replaceWith(missing("the picture cannot be had"));
    else setTimeout(() => (element.src = `${src}&again=1`), 1000);
  });
  return element;
}

/** @param {string} text */
export function missing(text) {
  return span("missing", text);
}

/**
 * Create the path of an indexed image. Lines may break after each folder.
 * @param {StoredImage} image
 */
export function path(image) {
  const parts = image.path.split("/");
  const children = parts.flatMap((part, i) => (i ? ["/", el("wbr"), part] : [part]));
  return span("path", ...children);
}

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/**
 * @param {number} n
 * @param {string} singular
 * @param {string} [plural]
 */
export const quantity = (n, singular, plural = `${singular}s`) =>
  `${count(n)} ${n === 1 ? singular : plural}`;
