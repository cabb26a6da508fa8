// What the browser keeps by key, if it may.

/** @param {string} key of a list @returns {any[]} */
export function recall(key, place = () => localStorage) {
  try {
    const kept = JSON.parse(place().getItem(`geosim-${key}`) ?? "");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return []; // nothing, or forbidden
  }
}

/** Return whether that worked. @param {string} key @param {unknown} value */
export function keep(key, value, place = () => localStorage) {
  try {
    place().setItem(`geosim-${key}`, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the page works without
  }
}
