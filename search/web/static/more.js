// Asks for hits, and for more of them; lists images where there is no query.

import { api, jsonRequest } from "./api.js";
import { $, count, quantity, reasonOf } from "./dom.js";
import { addItems, shownItems } from "./hits.js";
import { extend } from "./lightbox.js";
import { labelOf } from "./options.js";
import { parameters, parseKey, randomEmbedding } from "./state.js";

const PAGE = 60; // images of a list
const NEEDLESS = /** @type {const} */ (["min_score", "not_same", "together_by"]);

const button = $("more");

/** Return a parameter as JSON has it. @param {string} name @param {string} value */
function typed(name, value) {
  const isNumber = ["k", "min_score", "offset"].includes(name) && Number.isFinite(Number(value));
  return isNumber ? Number(value) : name === "without_wrong" ? true : value;
}

/** @type {Search} */
export function fetchAnswer(query, options, signal, offset = 0) {
  const wanted = parameters(options, query.kind === "examples" ? null : query);
  if (offset) wanted.set("offset", `${offset}`);
  if (query.kind === "examples") {
    const [positive, negative] = [query.positive.map(parseKey), query.negative.map(parseKey)];
    const fields = [...wanted].map(([name, value]) => [name, typed(name, value)]);
    const body = { positive, negative, ...Object.fromEntries(fields) };
    return api("/api/recommend", { ...jsonRequest(body), signal });
  }
  if (query.kind === "embedding") {
    wanted.delete("crop"); // it is the part's already
    return api(`/api/search?${wanted}`, { signal });
  }
  wanted.delete("id");
  return api(`/api/points/${encodeURIComponent(query.id)}/similar?${wanted}`, { signal });
}

/** @type {MoreHits} */
export function moreHits(answer, query, options, offset = 0) {
  if (!answer.more) return null;
  const after = offset + answer.hits.length;
  return async () => {
    const next = await fetchAnswer(query, options, undefined, after);
    return { items: next.hits, next: moreHits(next, query, options, after) };
  };
}

/** @param {Next | null} next */
export function offerMore(next) {
  button.hidden = next === null;
  button.disabled = false;
  button.textContent = "More";
  const ask = async () => {
    if (!next) return;
    button.disabled = true;
    try {
      const { items, next: then } = await next();
      if (button.onclick !== ask) return; // another list is shown
      offerMore(then);
      extend(addItems(items));
      $("status").textContent = `${quantity(shownItems().length, "image")} shown`;
    } catch (error) {
      button.disabled = false;
      button.textContent = `${reasonOf(error)} Try again`;
    }
  };
  button.onclick = ask;
}

/** Find images to start from: all that are asked for, else some, other ones each time.
 * @type {FindStart} */
export async function findStart(options, collection, signal) {
  const { where = "", area = "", class: label = "", show = "", one_per: per = "", k = "" } = options;
  const needless = NEEDLESS.filter((name) => options[name]).map((name) => `“${labelOf(name)}”`).join(", ");
  const ignored = needless && ` Without a picture to compare with, ${needless} does not count.`;
  if ((where || area || label) && !per)
    return list({ where, area, class: label, show, k: k || `${PAGE}` }, ignored, signal);
  const classes = collection?.classes.length ?? 0;
  const field = per || (classes && !where ? "class" : "");
  const asked = (per && k) || `${field ? PAGE : 12}`; // else k is of the next search
  const wanted = parameters({ one_per: field, k: asked, where, area, class: label, show });
  const path = `/api/search?embedding=${randomEmbedding()}&${wanted}`;
  const { hits, note, more } = await api(path, { signal });
  hits.sort((a, b) => ((a.class ?? "") < (b.class ?? "") ? -1 : 1));
  const isOfClasses = field === "class";
  const of = isOfClasses && more ? `${hits.length} of the ${count(classes)} classes` : `each ${field}`;
  const what = field ? `One of ${of}` : "Some of the images";
  return {
    images: hits, title: "Or start from an image of the collection", isOfClasses: isOfClasses && !note, next: null,
    status: (note ? `No image fits; ${note}` : `${what}, other ones each time.`) + ignored,
  };
}

/** @type {ListImages} */
async function list(options, ignored, signal) {
  /** @param {number} offset @param {AbortSignal} [stop] */
  async function page(offset, stop) {
    const wanted = parameters(options);
    wanted.set("offset", `${offset}`);
    const { images, total, note } = await api(`/api/images?${wanted}`, { signal: stop });
    const after = offset + images.length;
    const next = images.length && after < total ? () => page(after) : null;
    return { items: images, next, total, note };
  }
  const { items: images, next, total, note } = await page(0, signal);
  return {
    images, next, title: "Images of the collection", isOfClasses: false,
    status: (note ? `No image fits; ${note}` : `${quantity(total, "image")}, by path.`) + ignored,
  };
}
