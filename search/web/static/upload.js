// Picture files: chosen, photographed, dropped or pasted, then sent for a search.

import { api, isAbort } from "./api.js";
import { $ } from "./dom.js";
import { rememberUpload } from "./image.js";
import { parameters } from "./state.js";

/** @import { Answer, UploadedImage } from "./api.js" */
/** @import { Options } from "./state.js" */

const PREVIEW_SIDE = 480; // pixels

/**
 * Listen for picture files.
 * @param {(files: File[]) => void} onFiles
 * @param {(reason: string) => void} onRefused
 */
export function listenForFiles(onFiles, onRefused) {
  /** @param {FileList | null | undefined} files */
  const accept = (files) => {
    if (!files?.length) return false;
    onFiles([...files]);
    return true;
  };
  for (const input of [$("file", HTMLInputElement), $("camera", HTMLInputElement)]) {
    input.addEventListener("change", () => {
      accept(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => {
    const { target, clipboardData } = event;
    // Text from an office program can carry a picture too.
    if (target instanceof Element && target.closest("input, select, textarea")) return;
    if (accept(clipboardData?.files)) event.preventDefault();
  });
  listenForDrops(accept, onRefused);
}

/**
 * @param {(files: FileList) => void} accept
 * @param {(reason: string) => void} onRefused
 */
function listenForDrops(accept, onRefused) {
  let depth = 0; // dragenter and dragleave come for every element that is crossed
  /** @param {number} newDepth */
  const setDepth = (newDepth) => {
    depth = newDepth;
    $("dropping").hidden = depth <= 0;
  };
  /** @param {DragEvent} event */
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) setDepth(depth + 1);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event)) setDepth(depth - 1);
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    setDepth(0);
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    const { files, items } = event.dataTransfer;
    if ([...items].some((item) => item.webkitGetAsEntry()?.isDirectory)) {
      onRefused("This is a folder: drop the pictures in it.");
    } else accept(files);
  });
}

/**
 * Search by a file and remember its picture.
 * @param {File} file
 * @param {Options} options
 * @param {number} maxBytes
 * @param {AbortSignal} signal
 * @returns {Promise<Answer & UploadedImage>}
 * @throws {Error} the reason, after the file's name
 */
export async function searchByFile(file, options, maxBytes, signal) {
  try {
    if (file.size > maxBytes) {
      const [size, limit] = [file.size, maxBytes].map((bytes) => Math.ceil(bytes / 2 ** 20));
      throw new Error(`this file has ${size} MiB; at most ${limit} MiB are taken.`);
    }
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    /** @type {Promise<Answer & UploadedImage>} */
    const request = api(`/api/search?${parameters(options)}`, {
      method: "POST",
      headers,
      body: file,
      signal,
    });
    const [answer, src] = await Promise.all([request, preview(file)]);
    signal.throwIfAborted();
    rememberUpload(answer, { src, name: file.name });
    return answer;
  } catch (error) {
    if (isAbort(error) || !(error instanceof Error)) throw error;
    throw new Error(`${file.name}: ${error.message}`, { cause: error });
  }
}

/**
 * Return a small copy of a picture as a data URL, or null where the browser cannot decode it.
 * @param {File} file
 */
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
