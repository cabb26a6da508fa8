// Builds elements. Text always becomes a text node: nothing that is shown is ever parsed as HTML.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function picture(stored, alt, side = 256) {
  const image = el("img", {
    src: `${stored.picture}?side=${side}`, alt, loading: "lazy", decoding: "async",
  });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
  let tries = 0; // a busy server answers the second time
  image.addEventListener("error", () => {
    tries += 1;
    if (tries > 1) image.replaceWith(missing("the picture cannot be had"));
    else setTimeout(() => { image.src = `${image.src}&again=1`; }, 1000);
  });
  return image;
}

export function missing(text) {
  return el("span", { class: "missing" }, text);
}

// A stored path, which may break after each folder.
export function path(stored) {
  const parts = stored.path.split("/");
  const shown = parts.flatMap((part, at) => (at ? ["/", el("wbr"), part] : [part]));
  return el("span", { class: "path" }, ...shown);
}

export const count = (n) => n.toLocaleString("en");

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
