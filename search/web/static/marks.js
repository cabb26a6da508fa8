// Marks hits as right or wrong, which the server keeps beside the collection.

import { api, jsonRequest } from "./api.js";
import { $, el, quantity, reasonOf } from "./dom.js";
import { imageName } from "./image.js";
import { address, readAddress } from "./state.js";

const bar = $("marked");
let query = { digest: "", name: "" };

/** Say which query is judged. @type {OfferMarks} */
export function offerMarks({ digest, wrong }, name) {
  query = { digest, name: name.slice(0, 300) };
  tell(wrong);
}

/** @param {number} wrong */
function tell(wrong) {
  const { query: asked, options } = readAddress(location);
  const [without, told, link] = options.without_wrong
    ? ["", " left out; scores are as before", "Show them"]
    : ["true", "", "Search again without the wrong ones"];
  bar.hidden = wrong === 0 && without !== "";
  bar.replaceChildren(`${quantity(wrong, "image")} marked wrong for this query${told}. `,
    el("a", { href: address(asked, { ...options, without_wrong: without }) }, link));
}

/** @param {Hit} hit */
export function markButtons(hit) {
  /** @param {Verdict} verdict @param {string} sign */
  const button = (verdict, sign) => el("button", {
    title: `${verdict === "right" ? "Right" : "Wrong"} for this query`,
    "aria-label": `Mark as ${verdict}: ${imageName(hit)}`,
    "aria-pressed": `${hit.mark === verdict}`, onclick: () => mark(verdict),
  }, `${sign} ${verdict}`);
  const both = { right: button("right", "✓"), wrong: button("wrong", "✗") };
  const told = el("span", { role: "alert" });
  /** @param {Verdict} verdict */
  async function mark(verdict) {
    const wanted = hit.mark === verdict ? null : verdict;
    const { digest, name } = query;
    try {
      const body = { query: digest, id: hit.id, mark: wanted, name };
      const { wrong } = await api("/api/marks", jsonRequest(body));
      hit.mark = wanted;
      told.textContent = "";
      for (const [one, shown] of Object.entries(both)) shown.ariaPressed = `${one === wanted}`;
      if (digest === query.digest) tell(wrong);
    } catch (error) {
      told.textContent = reasonOf(error);
    }
  }
  return el("div", { class: "example-buttons marks row" }, both.right, both.wrong, told);
}
