// Builds elements. Text always becomes a text node; nothing is parsed as HTML.

const SHOWN = ["title", "alt", "aria-label", "placeholder"]; // attributes that people read

/** Return the page's element with an id. @type {ElementOf} */
export const $ = (id) => /** @type {any} */ (document.getElementById(id));

/** Create an element. Functions are listeners; false and null are left out. @type {Create} */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (element instanceof HTMLButtonElement) element.type = "button"; // submits no form unless told to
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) {
      const text = value === true ? "" : `${value}`;
      element.setAttribute(name, SHOWN.includes(name) ? safe(text) : text);
    }
  }
  for (const child of children) {
    if (child !== null) element.append(typeof child === "string" ? safe(child) : child);
  }
  return element;
}

/** @param {string} className @param {...Child} children */
export const span = (className, ...children) => el("span", { class: className }, ...children);

/** @param {...Child} children */
export const fine = (...children) => el("p", { class: "fine" }, ...children);

/** Escape what turns a text's direction, as the commands do: no name disguises its ending.
 * @param {string} text */
export const safe = (text) => text.replace(/\p{Bidi_Control}/gu,
  (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Isolate a name, which may be of any script, from the text around it. @param {string} text */
export const isolated = (text) => el("bdi", {}, text);

/** Create the path of an image. Lines may break after each folder. @param {string} text */
export const path = (text) => span("path",
  ...text.split("/").flatMap((part, i) => i ? ["/", el("wbr"), isolated(part)] : [isolated(part)]));

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/** @param {number} n @param {string} singular */
export const quantity = (n, singular, plural = `${singular}s`) =>
  `${count(n)} ${n === 1 ? singular : plural}`;

/** @param {unknown} error */
export const reasonOf = (error) => error instanceof Error ? error.message : `${error}`;

/** Return the element that a click is on, unless it opens another window. @type {Clicked} */
export function clicked({ target, ctrlKey, metaKey, shiftKey, button }, selector) {
  const modified = ctrlKey || metaKey || shiftKey || button !== 0;
  return target instanceof Element && !modified ? target.closest(selector) : null;
}
