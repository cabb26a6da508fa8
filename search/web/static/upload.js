// Picture files: chosen, photographed, dropped or pasted, then sent for a search.

import { api } from "./api.js";
import { $ } from "./dom.js";
import { rememberUpload } from "./image.js";
import { parameters } from "./state.js";

/** @import { Answer, UploadedImage } from "./api.js" */
/** @import { Options } from "./state.js" */
/** @typedef {{ crop: string, whole: UploadedImage }} PartOfFile a part, and what the file was */
const PREVIEW_SIDE = 480; // pixels
const MAX_FILES = 20; // that are held for searches by their parts

const files = /** @type {Map<string, File>} by embedding */ (new Map());

/** Return the file of an upload, until the page is left. @param {UploadedImage | null} image */
export const fileOf = (image) => (image && files.get(image.embedding)) ?? null;

/** @param {(files: File[]) => void} onFiles @param {(reason: string) => void} onRefused */
export function listenForFiles(onFiles, onRefused) {
  for (const input of [$("file", HTMLInputElement), $("camera", HTMLInputElement)]) {
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
  let depth = 0; // dragenter and dragleave come for every element that is crossed
  /** @param {DragEvent} event @param {number} newDepth */
  const track = (event, newDepth) => {
    if (!event.dataTransfer?.types.includes("Files")) return null;
    depth = newDepth;
    $("dropping").hidden = depth <= 0;
    return event.dataTransfer;
  };
  addEventListener("dragenter", (event) => track(event, depth + 1));
  addEventListener("dragleave", (event) => track(event, depth - 1));
  addEventListener("dragover", (event) => { if (track(event, depth)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    const dropped = track(event, 0);
    if (!dropped) return;
    event.preventDefault();
    if ([...dropped.items].some((item) => item.webkitGetAsEntry()?.isDirectory)) {
      onRefused("This is a folder: drop the pictures in it.");
    } else if (dropped.files.length) onFiles([...dropped.files]);
  });
}

/** Search by a file, or by a part of its picture, and remember both. Errors name the file.
 * @param {File} file @param {Options} options @param {number} maxBytes
 * @param {AbortSignal} signal @param {PartOfFile | null} part */
export async function searchByFile(file, options, maxBytes, signal, part) {
  try {
    if (file.size > maxBytes) {
      const [size, limit] = [file.size, maxBytes].map((bytes) => Math.ceil(bytes / 2 ** 20));
      throw new Error(`this file has ${size} MiB; at most ${limit} MiB are taken.`);
    }
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const wanted = parameters(options);
    if (part) wanted.set("crop", part.crop);
    const init = { method: "POST", headers, body: file, signal };
    /** @type {Promise<Answer & UploadedImage>} */
    const request = api(`/api/search?${wanted}`, init);
    const [answer, src] = await Promise.all([request, preview(file)]);
    signal.throwIfAborted();
    const { embedding, sha256, model } = answer;
    const whole = part?.whole ?? { embedding, sha256, model };
    rememberUpload(answer, { src, name: file.name, whole });
    files.delete(whole.embedding);
    files.set(whole.embedding, file);
    const [oldest] = files.keys();
    if (files.size > MAX_FILES) files.delete(oldest);
    return answer;
  } catch (error) {
    throw new Error(`${file.name}: ${/** @type {Error} */ (error).message}`, { cause: error });
  }
}

/** Return a small copy as a data URL, or null if it cannot be decoded. @param {File} file */
async function preview(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const side = Math.max(bitmap.width, bitmap.height);
    const scale = Math.min(1, PREVIEW_SIDE / side);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas.toDataURL(side <= PREVIEW_SIDE / 2 ? "image/png" : "image/jpeg", 0.92);
  } catch {
    return null;
  }
}
