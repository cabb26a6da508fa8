// Facts with counts and ranges, each of which adds to the expression.

import { api, isFault } from "./api.js";
import { $, count, el, fine, isolated, quantity, reasonOf, span } from "./dom.js";
import { addCondition } from "./options.js";

const panel = $("facets");
const PLAIN = /^(?!(and|or|not)$)[\p{L}\p{N}_.-]+$/iu;
let expression = ""; // of which the facets are
let current = new AbortController();

/** @param {string} value */
const quoted = (value) => `"${value.replaceAll('"', '""')}"`;

/** Return a name as an expression has it. @param {string} name */
const named = (name) => PLAIN.test(name) ? name : quoted(name);

/** Show the facets of what matches, once the panel is open. @param {string} where */
export function showFacets(where) {
  panel.ontoggle = () => { if (panel.open) load(where); };
  if (panel.open && where !== expression) load(where);
}

/** @param {string} where */
async function load(where) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const query = where ? `?${new URLSearchParams({ where })}` : "";
  try {
    const { facets } = await api(`/api/facets${query}`, { signal });
    expression = where;
    const useful = facets.filter(({ name, values }) => name !== "dataset" || values.length > 1);
    $("facet-list").replaceChildren(...useful.map(draw));
  } catch (error) {
    if (signal.aborted || isFault(error)) return; // the search tells it
    $("facet-list").replaceChildren(reasonOf(error));
  }
}

/** @param {Facet} facet */
function draw(facet) {
  const { name, images } = facet;
  const title = el("h3", {}, isolated(name), span("number", quantity(images, "image")));
  return el("section", { "aria-label": name }, title, ...(images ? choices(facet) : []));
}

/** @param {Facet} facet */
function choices(facet) {
  const { name, kind, values, more } = facet;
  if (kind === "number" || kind === "date") return [range(facet)];
  if (kind === "geo") {
    return [fine("near(latitude, longitude, 20 km) finds images around a place.")];
  }
  const buttons = values.map((one) => el("li", {}, el("button", {
    onclick: () => addCondition(`${named(name)} = ${quoted(one.name)}`),
  }, span("name", isolated(one.name)), span("number", count(one.count)))));
  const rest = more ? [fine("and others: write them in the expression")] : [];
  return [el("ul", {}, ...buttons), ...rest];
}

/** @param {Facet} facet */
function range({ name, kind, least, greatest }) {
  const isDate = kind === "date";
  /** @param {string} label @param {string} value */
  const input = (label, value) => el("input", {
    type: isDate ? "date" : "number", step: isDate ? null : "any", placeholder: value,
    "aria-label": `${name} ${label}`, ...(isDate ? { min: day(least), max: day(greatest) } : {}),
  });
  const [from, to] = [input("from", `${least}`), input("to", `${greatest}`)];
  const ends = isDate ? `${day(least)} to ${day(greatest)}` : `${least} to ${greatest}`;
  return el("form", {
    class: "range",
    onsubmit: (event) => {
      event.preventDefault();
      const bounds = [[">=", from.value], ["<=", to.value]].filter(([, value]) => value !== "");
      if (bounds.length === 0) return;
      addCondition(bounds.map(([sign, value]) => `${named(name)} ${sign} ${value}`).join(" and "));
    },
  }, fine(ends), from, "–", to, el("button", { type: "submit" }, "Add"));
}

/** @param {unknown} moment */
const day = (moment) => `${moment}`.slice(0, 10);
