// Files: chosen, photographed, dropped or pasted, then sent for a search, with progress.

import { api, Refusal } from "./api.js";
import { $, el, reasonOf } from "./dom.js";
import { rememberUpload, wholeOf } from "./image.js";
import { parameters } from "./state.js";

const PREVIEW_SIDE = 480; // pixels
const VIEW_SIDE = 4096; // pixels of what the server makes of a file that the browser cannot show
const MAX_FILES = 20; // that are held for searches by their parts

const files = /** @type {Map<string, File>} by embedding */ (new Map());
const views = /** @type {WeakMap<File, Blob>} of those that the browser cannot show */ (new WeakMap());

/** Return what the browser can show of an upload. @param {UploadedImage} image */
export function viewOf(image) {
  const file = fileOf(wholeOf(image) ?? image);
  return file && (views.get(file) ?? file);
}

/** Return the file of an upload, until the page is left. @param {UploadedImage | null} image */
export const fileOf = (image) => (image && files.get(image.embedding)) ?? null;

/** @type {ListenForFiles} */
export function listenForFiles(onFiles, onRefused) {
  for (const input of [$("file"), $("camera")]) {
    input.onkeydown = ({ key }) => { if (key === "Enter") input.click(); }; // as a button
    input.addEventListener("change", () => {
      if (input.files?.length) onFiles([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => {
    const { target, clipboardData } = event;
    // Text from an office program can carry a picture too.
    if (target instanceof Element && target.closest("input, select, textarea")) return;
    if (!clipboardData?.files.length) return;
    event.preventDefault();
    onFiles([...clipboardData.files]);
  });
  /** @param {DragEvent} event @param {boolean} over the page */
  const track = ({ dataTransfer }, over) => {
    if (!dataTransfer?.types.includes("Files")) return null;
    $("dropping").hidden = !over;
    return dataTransfer;
  };
  addEventListener("dragleave", (event) => track(event, event.relatedTarget !== null));
  addEventListener("dragover", (event) => { if (track(event, true)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    const dropped = track(event, false);
    if (!dropped) return;
    event.preventDefault();
    if ([...dropped.items].some((item) => item.webkitGetAsEntry()?.isDirectory)) {
      onRefused("This is a folder: drop the pictures in it.");
    } else if (dropped.files.length) onFiles([...dropped.files]);
  });
}

/** Search by files; those that are refused are left out and named. @type {SearchByFiles} */
export async function searchByFiles(given, options, maxBytes, signal, part) {
  const answers = [];
  const refused = [];
  const wanted = parameters(options);
  if (part) wanted.set("crop", part.crop);
  for (const [i, file] of given.entries()) {
    const what = given.length > 1 ? `Picture ${i + 1} of ${given.length}` : file.name;
    try {
      if (file.size > maxBytes) {
        const [size, limit] = [file.size, maxBytes].map((bytes) => Math.ceil(bytes / 2 ** 20));
        throw new Refusal(`this file has ${size} MiB; at most ${limit} MiB are taken.`);
      }
      answers.push(await searchByFile(file, wanted, signal, part, what));
    } catch (error) {
      const message = `${file.name}: ${reasonOf(error)}`;
      if (given.length === 1 || !(error instanceof Refusal)) throw new Error(message, { cause: error });
      refused.push(message);
    }
  }
  return { answers, refused };
}

/** Search by a file or a part of its picture, and remember both. @type {SearchByFile} */
async function searchByFile(file, wanted, signal, part, what) {
  $("progress-text").textContent = what;
  const request = api(`/api/search?${wanted}`, sending(file, signal), fetchWithProgress);
  const bitmap = createImageBitmap(file).catch(() => null); // meanwhile
  const answer = /** @type {FileAnswer} */ (await request);
  const src = smallCopy(await bitmap ?? await view(file, signal));
  signal.throwIfAborted();
  const { embedding, sha256, model } = answer;
  const whole = part?.whole ?? { embedding, sha256, model };
  rememberUpload(answer, { src, name: file.name, whole });
  files.delete(whole.embedding);
  files.set(whole.embedding, file);
  const [oldest] = files.keys();
  if (files.size > MAX_FILES) files.delete(oldest);
  return answer;
}

/** Return a request with a file, whose kind the server tells by its content. @type {Sending} */
function sending(file, signal) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  return { method: "POST", headers: { "Content-Type": type }, body: file, signal };
}

/** Return what the server makes of a file that the browser cannot show, or null. @type {ServerView} */
async function view(file, signal) {
  const asked = fetch(`/api/preview?side=${VIEW_SIDE}`, sending(file, signal));
  const response = await asked.catch(() => null);
  signal.throwIfAborted();
  if (!response?.ok) return null;
  const blob = await response.blob();
  views.set(file, blob);
  return createImageBitmap(blob).catch(() => null);
}

/** @param {ImageBitmap | null} bitmap */
function smallCopy(bitmap) {
  if (!bitmap) return null;
  const side = Math.max(bitmap.width, bitmap.height);
  const scale = Math.min(1, PREVIEW_SIDE / side);
  const [width, height] = [bitmap.width, bitmap.height].map((one) => Math.ceil(one * scale));
  const canvas = el("canvas", { width, height });
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return canvas.toDataURL(side <= PREVIEW_SIDE / 2 ? "image/png" : "image/jpeg", 0.92);
}

/** Show an upload that begins; null hides it. @param {(() => void) | null} onCancel */
export function showUpload(onCancel) {
  $("progress-cancel").onclick = onCancel;
  $("progress").hidden = onCancel === null;
}

/** @type {Send} that tells how much was sent */
const fetchWithProgress = (path, init = {}) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest();
  const bar = $("progress-bar");
  bar.value = 0;
  request.open(init.method ?? "GET", path);
  request.responseType = "blob";
  for (const header of new Headers(init.headers)) request.setRequestHeader(...header);
  request.upload.onprogress = ({ loaded, total }) => {
    if (loaded < total) bar.value = loaded / total;
    else bar.removeAttribute("value"); // the server works: it takes an unknown time
  };
  request.onload = () => resolve(new Response(request.response, { status: request.status }));
  request.onerror = request.onabort = () => reject(new Error("not sent"));
  init.signal?.addEventListener("abort", () => request.abort());
  request.send(/** @type {XMLHttpRequestBodyInit} */ (init.body));
});
