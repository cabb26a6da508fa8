// Talks to the JSON API; asks for the key where there is one.

import { $ } from "./dom.js";

let opening = null;

export async function api(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is geosim serve still running?");
  }
  if (response.status === 401) {
    opening ??= login().finally(() => { opening = null; });
    await opening;
    return api(path, options);
  }
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return {}; // not JSON
  });
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

export function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return api(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function refusal(response) {
  if (!response) return "The server does not answer.";
  if (response.status === 401) return "This is not the key.";
  const { error } = await response.json().catch(() => ({}));
  return error ?? "";
}

function login() {
  const dialog = $("login");
  const form = dialog.querySelector("form");
  const notice = dialog.querySelector(".notice");
  dialog.showModal();
  dialog.onclose = () => dialog.showModal(); // nothing can be done without the key
  return new Promise((opened) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const key = form.elements.key.value;
      const response = await fetch("/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ key }),
      }).catch(() => null);
      notice.hidden = response?.ok ?? false;
      notice.textContent = await refusal(response);
      if (!response?.ok) return;
      form.reset();
      dialog.onclose = null;
      dialog.close();
      opened();
    };
  });
}
