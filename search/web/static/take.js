// Takes the hits away: as a table, JSON, a contact sheet or an archive; copies their paths.

import { jsonRequest, request } from "./api.js";
import { $, el, quantity, reasonOf } from "./dom.js";
import { shownItems } from "./hits.js";

const FORMATS = {
  csv: "CSV, for a spreadsheet", json: "JSON", pdf: "Contact sheet, PDF", png: "Contact sheet, PNG",
  zip: "The pictures, .zip",
};
const MOST_DRAWN = 300;
const MOST_TAKEN = 5000;

const panel = $("take", HTMLDetailsElement);
const told = $("take-told");
let about = /** @type {Taken} */ ({});
let current = new AbortController();

/** Say what the hits are of. @param {Taken} query */
export function offerTaking(query) {
  about = query;
  current.abort();
  told.textContent = "";
  panel.hidden = shownItems().length === 0;
  panel.open = false;
}

/** @param {keyof typeof FORMATS} format */
async function take(format) {
  const isSheet = format === "png" || format === "pdf";
  const items = shownItems().slice(0, isSheet ? MOST_DRAWN : MOST_TAKEN);
  const left = shownItems().length - items.length;
  const hits = items.map((item) => ({ id: item.id, score: "score" in item ? item.score : null }));
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const cancel = el("button", { onclick: () => current.abort() }, "Cancel");
  told.replaceChildren(`Making a file of ${quantity(hits.length, "image")} … `, cancel);
  try {
    const given = Object.entries(about).filter(([, value]) => value);
    const body = jsonRequest({ format, hits, ...Object.fromEntries(given) });
    const response = await request("/api/take-away", { ...body, signal });
    save(await response.blob(), `geosim-hits.${format}`);
    told.textContent = left ? `Saved the first ${hits.length}; ${left} left out.` : "Saved.";
  } catch (error) {
    if (current.signal !== signal) return; // another was begun
    told.textContent = signal.aborted ? "Cancelled." : reasonOf(error);
  }
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Copy the paths, a line each: as the commands take them, without what would end a line. */
async function copyPaths() {
  const text = shownItems().map(({ path }) => path.replace(/\p{Cc}/gu, "\uFFFD")).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = `Copied ${quantity(shownItems().length, "path")}.`;
  } catch { // not allowed, or no secure address
    const area = el("textarea", { readonly: true, rows: 6, "aria-label": "Paths" }, text);
    told.replaceChildren("Copy them from here:", area);
    area.select();
  }
}

const buttons = Object.entries(FORMATS).map(([format, label]) => el("button", {
  onclick: () => take(/** @type {keyof typeof FORMATS} */ (format)),
}, label));
$("take-choices").append(...buttons,
  el("button", { onclick: copyPaths }, "Copy paths"),
  el("a", { href: "/api/marks", download: "geosim-marks.csv" }, "All marks, CSV"));
