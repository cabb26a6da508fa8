// Requests to the JSON API. Asks for the key where the server needs one.

import { $ } from "./dom.js";

let pendingLogin = /** @type {Promise<void> | null} */ (null);

/** A refusal of a request; `place` is where an expression fails, in Unicode characters. */
export class Refusal extends Error {
  /** @param {string} reason @param {number | null} place */
  constructor(reason, place) {
    super(reason);
    this.place = place;
  }
}

/** Say how to go on from an address of the page that is refused. @param {string} reason */
export const ofAddress = (reason) =>
  `The address of this page is refused: ${reason}. Change it, choose a picture, or start anew by Search.`;

/** Whether an expression cannot be read. @param {unknown} error
 * @returns {error is Refusal & { place: number }} */
export const isFault = (error) => error instanceof Refusal && error.place !== null;

/** Return the JSON of an answer. Throw as `request` does.
 * @template T @param {string} path @param {RequestInit} [init] 
 * @param {Send} [send] @returns {Promise<T>} */
export async function api(path, init, send) {
  const response = await request(path, init, send);
  const answer = await response.json().catch(() => ({})); // not JSON
  init?.signal?.throwIfAborted();
  return answer;
}

/** Return an answer. Throw the server's reason, or an AbortError of the signal.
 * @param {string} path @param {RequestInit} [init]
 * @param {Send} send
 * @returns {Promise<Response>} */
export async function request(path, init, send = fetch) {
  const response = await send(path, init).catch(() => null);
  init?.signal?.throwIfAborted();
  if (!response) throw new Error("The server does not answer. Is geosim serve still running?");
  if (response.status === 401) {
    pendingLogin ??= login().finally(() => (pendingLogin = null));
    await pendingLogin;
    return request(path, init, send);
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({})); // not JSON
    init?.signal?.throwIfAborted();
    if (response.status >= 500) throw new Error(answer.error ?? "The server failed.");
    throw new Refusal(answer.error ?? `The server answered ${response.status}.`, answer.place ?? null);
  }
  return response;
}

/** @param {object} body */
export function jsonRequest(body) {
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

/** Show the dialog that asks for the key, until the server accepts one. @returns {Promise<void>} */
function login() {
  const dialog = $("login", HTMLDialogElement);
  const form = $("login-form", HTMLFormElement);
  const notice = $("login-notice");
  dialog.showModal();
  dialog.onclose = () => dialog.showModal(); // the page is of no use without the key
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const body = { key: $("key", HTMLInputElement).value };
      const response = await fetch("/login", jsonRequest(body)).catch(() => null);
      notice.hidden = response?.ok ?? false;
      notice.textContent = await refusal(response);
      if (!response?.ok) return;
      form.reset();
      dialog.onclose = null;
      dialog.close();
      resolve();
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

/** Return why a login failed. @param {Response | null} response @returns {Promise<string>} */
async function refusal(response) {
  if (!response) return "The server does not answer.";
  if (response.status === 401) return "This is not the key.";
  const { error } = await response.json().catch(() => ({}));
  return error ?? "";
}
