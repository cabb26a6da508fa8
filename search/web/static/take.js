// Makes files of the hits; copies their paths.

import { jsonRequest, request } from "./api.js";
import { $, el, quantity, reasonOf } from "./dom.js";
import { shownItems } from "./hits.js";

const MOST_DRAWN = 300; // of a contact sheet
const MOST_TAKEN = 5000;

const told = $("take-told");
let about = /** @type {Taken} */ ({});
let current = new AbortController();

/** Say what the hits are of. @param {Taken} query */
export function offerTaking(query) {
  about = query;
  current.abort();
  told.textContent = "";
  $("take").hidden = shownItems().length === 0;
  $("take").open = false;
}

/** @param {string} format */
async function take(format) {
  const most = format === "png" || format === "pdf" ? MOST_DRAWN : MOST_TAKEN;
  const hits = shownItems().slice(0, most)
    .map((item) => ({ id: item.id, score: "score" in item ? item.score : null }));
  const left = shownItems().length - hits.length;
  current.abort();
  current = new AbortController();
  const { signal } = current;
  told.replaceChildren(`Making a file of ${quantity(hits.length, "image")} … `,
    el("button", { onclick: () => current.abort() }, "Cancel"));
  try {
    const given = Object.entries(about).filter(([, value]) => value);
    const body = jsonRequest({ format, hits, ...Object.fromEntries(given) });
    const response = await request("/api/take-away", { ...body, signal });
    const name = `geosim-hits.${format}`;
    save(await response.blob(), name);
    told.textContent = `Saved as ${name}${left ? `, the first ${hits.length}; ${left} left out` : ""}.`;
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

for (const button of $("take-choices").querySelectorAll("button")) {
  const { format } = button.dataset;
  if (format) button.onclick = () => take(format);
}
$("copy-paths").onclick = async () => {
  // A line each, as the commands take them, without what would end a line.
  const text = shownItems().map(({ path }) => path.replace(/\p{Cc}/gu, "\uFFFD")).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = `Copied ${quantity(shownItems().length, "path")}.`;
  } catch { // not allowed, or no secure address
    const area = el("textarea", { readonly: true, rows: 6, "aria-label": "Paths" }, text);
    told.replaceChildren("Copy them from here:", area);
    area.select();
  }
};
