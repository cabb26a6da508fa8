// Requests to the JSON API. Asks for the key where the server needs one.

import { $ } from "./dom.js";

// What the API answers; /docs describes each field.

/** @typedef {{ id: string, path: string, class: string, picture: string }} StoredImage */
/** @typedef {{ embedding: string, sha256: string, model?: string }} UploadedImage */
/** @typedef {StoredImage | UploadedImage} Image */
/** @typedef {StoredImage & { rank: number, score: number, identical: boolean }} Hit */
/** @typedef {{ class: string, votes: number, share: number }} Vote */
/**
 * @typedef {object} Explanation
 * @property {Vote[]} votes
 * @property {string} predicted
 * @property {number} confidence
 * @property {boolean} unlike
 * @property {number} best
 * @property {number | null} usual
 */
/**
 * @typedef {object} Answer
 * @property {Hit[]} hits
 * @property {Explanation} explanation
 * @property {StoredImage | null} query
 * @property {Image[]} positive
 * @property {Image[]} negative
 */
/** @typedef {{ name: string, count: number }} Count */
/**
 * @typedef {object} Collection
 * @property {number} points
 * @property {Count[]} classes
 * @property {number} upload_bytes
 * @property {number} examples
 */
/**
 * @typedef {object} MapAnswer
 * @property {string[]} classes
 * @property {number[]} labels
 * @property {string[]} ids
 * @property {string[]} paths
 * @property {number[]} x
 * @property {number[]} y
 */

/** @type {Promise<void> | null} */
let pendingLogin = null;

/**
 * Request a path of the API and return the JSON of its answer.
 * @template T
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<T>}
 * @throws {Error} the server's reason, or an AbortError of the request's signal
 */
export async function api(path, init) {
  const response = await fetch(path, init).catch((error) => {
    if (isAbort(error)) throw error;
    throw new Error("The server does not answer. Is geosim serve still running?");
  });
  if (response.status === 401) {
    pendingLogin ??= login().finally(() => {
      pendingLogin = null;
    });
    await pendingLogin;
    return api(path, init);
  }
  const answer = await response.json().catch((error) => {
    if (isAbort(error)) throw error;
    return {}; // not JSON
  });
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

/**
 * Post JSON to a path of the API and return the JSON of its answer.
 * @template T
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export function post(path, body, signal) {
  return api(path, { ...jsonRequest(body), signal });
}

/**
 * Tell whether a request ended because its signal was aborted.
 * @param {unknown} error
 */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * @param {object} body
 * @returns {RequestInit}
 */
function jsonRequest(body) {
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

/**
 * Show the dialog that asks for the key, until the server accepts one.
 * @returns {Promise<void>}
 */
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

/**
 * Return why a login failed.
 * @param {Response | null} response
 * @returns {Promise<string>}
 */
async function refusal(response) {
  if (!response) return "The server does not answer.";
  if (response.status === 401) return "This is not the key.";
  const { error } = await response.json().catch(() => ({}));
  return error ?? "";
}
