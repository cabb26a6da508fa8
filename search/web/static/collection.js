// The collection that is searched: its size, its classes, and the limits of an upload.

import { api } from "./api.js";
import { registerClasses } from "./colours.js";
import { $, quantity } from "./dom.js";
import { fillClasses } from "./form.js";
import { readAddress } from "./state.js";

/** @import { Collection } from "./api.js" */

/** @type {Promise<Collection> | null} */
let collection = null;

/** Return the collection. It is requested and shown once, or again after a failure. */
export function loadCollection() {
  collection ??= requestCollection().catch((error) => {
    collection = null;
    throw error;
  });
  return collection;
}

async function requestCollection() {
  /** @type {Collection} */
  const answer = await api("/api/collection");
  const { points, classes } = answer;
  const classCount = quantity(classes.length, "class", "classes");
  registerClasses(classes.map(({ name }) => name));
  fillClasses(classes, readAddress(location).options.class ?? "");
  $("summary").textContent = `${quantity(points, "image")}, ${classCount}`;
  return answer;
}
