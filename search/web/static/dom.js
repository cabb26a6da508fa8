// Builds elements. Text always becomes a text node; nothing is parsed as HTML.

const SHOWN = ["title", "alt", "aria-label", "placeholder"]; // attributes that people read

/** Return the page's element with an id, which must be of a type.
 * @template {HTMLElement} [T=HTMLElement] @param {string} id @param {new () => T} type */
export function $(id, type = /** @type {new () => T} */ (HTMLElement)) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return element;
}

/** Create an element. A function is a listener: `onclick: () => ...`. False and null are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Attributes} [attributes] @param {...Child} children */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (element instanceof HTMLButtonElement) element.type = "button"; // submits no form unless told to
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) {
      element.setAttribute(name, SHOWN.includes(name) ? safe(`${value}`) : `${value}`);
    }
  }
  for (const child of children) {
    if (child !== null) element.append(typeof child === "string" ? safe(child) : child);
  }
  return element;
}

/** @param {string} className @param {...Child} children */
export const span = (className, ...children) => el("span", { class: className }, ...children);

/** Return a text with the characters that turn its direction escaped, as the commands print them,
 * so that no name can show another ending than it has. @param {string} text */
export const safe = (text) => text.replace(/\p{Bidi_Control}/gu,
  (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Isolate a name, which may be of any script, from the text around it. @param {string} text */
export const name = (text) => el("bdi", {}, text);

/** Create the path of an image. Lines may break after each folder. @param {string} text */
export const path = (text) => span("path",
  ...text.split("/").flatMap((part, i) => (i ? ["/", el("wbr"), name(part)] : [name(part)])));

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/** @param {number} n @param {string} singular */
export const quantity = (n, singular, plural = `${singular}s`) =>
  `${count(n)} ${n === 1 ? singular : plural}`;

/** Return the message of what was thrown. @param {unknown} error */
export const reasonOf = (error) => error instanceof Error ? error.message : `${error}`;
