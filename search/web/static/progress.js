// How far an upload is, and the button that cancels it.

import { $ } from "./dom.js";

/** @param {() => void} onCancel */
export function startProgress(onCancel) {
  $("progress-cancel").onclick = onCancel;
  $("progress").hidden = false;
}

export const endProgress = () => { $("progress").hidden = true; };

/** @param {string} what @param {number} share of the file that was sent, 0 to 1 */
export function showProgress(what, share) {
  $("progress-text").textContent = what;
  if (share < 1) $("progress-bar").value = share;
  else $("progress-bar").removeAttribute("value"); // the server works: it takes an unknown time
}

/** Return a fetch that tells how much was sent. @param {(share: number) => void} onProgress
 * @returns {Send} */
export const fetchWithProgress = (onProgress) => (path, init = {}) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  request.open(init.method ?? "GET", path);
  request.responseType = "blob";
  for (const header of new Headers(init.headers)) request.setRequestHeader(...header);
  request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 1);
  request.onload = () => resolve(new Response(request.response, { status: request.status }));
  request.onerror = request.onabort = () => reject(new Error("not sent"));
  init.signal?.addEventListener("abort", () => request.abort());
  request.send(/** @type {XMLHttpRequestBodyInit} */ (init.body));
});
