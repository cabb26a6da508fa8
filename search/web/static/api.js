// Requests to the JSON API. Asks for the key where the server needs one.

import { $ } from "./dom.js";

let pendingLogin = /** @type {Promise<unknown> | null} */ (null);

/** A refusal of a request; `place` is where an expression fails, in Unicode characters. */
export class Refusal extends Error {
  /** @param {string} reason @param {number | null} [place] */
  constructor(reason, place = null) {
    super(reason);
    this.place = place;
  }
}

/** Whether an expression cannot be read. @param {unknown} error @returns {error is Fault} */
export const isFault = (error) => error instanceof Refusal && error.place !== null;

/** Return the JSON of an answer. Throw as `request` does. @type {Api} */
export const api = async (path, init, send) => jsonOf(await request(path, init, send), init);

/** Return an answer. Throw the server's reason, or an AbortError of the signal. @type {Ask} */
export async function request(path, init, send = fetch) {
  const response = await send(path, init).catch(() => null);
  init?.signal?.throwIfAborted();
  if (!response) throw new Error("The server does not answer. Is geosim serve still running?");
  if (response.status === 401) {
    pendingLogin ??= login().finally(() => (pendingLogin = null));
    await pendingLogin;
    return request(path, init, send);
  }
  if (response.ok) return response;
  const { error, place } = await jsonOf(response, init);
  if (response.status >= 500) throw new Error(error ?? "The server failed.");
  throw new Refusal(error ?? `The server answered ${response.status}.`, place);
}

/** @param {Response} response @param {RequestInit} [init] */
async function jsonOf(response, init) {
  const answer = await response.json().catch(() => ({})); // not JSON
  init?.signal?.throwIfAborted();
  return answer;
}

/** @param {object} body */
export function jsonRequest(body) {
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

/** Ask for the key until the server accepts one. */
function login() {
  const [dialog, form, notice] = [$("login"), $("login-form"), $("login-notice")];
  dialog.showModal();
  dialog.onclose = () => dialog.showModal(); // the page is of no use without the key
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const body = jsonRequest({ key: $("key").value });
      const response = await fetch("/login", body).catch(() => null);
      if (!response?.ok) {
        const { error } = response ? await jsonOf(response) : { error: "The server does not answer." };
        notice.textContent = response?.status === 401 ? "This is not the key." : error;
        return;
      }
      notice.textContent = "";
      form.reset();
      dialog.onclose = resolve;
      dialog.close();
    };
  });
}

/** End the session, and forget its pictures. */
export async function logout() {
  const response = await fetch("/logout", { method: "POST" }).catch(() => null);
  if (!response?.ok) return; // the server is gone, and the session with it
  sessionStorage.clear();
  location.assign("/");
}
