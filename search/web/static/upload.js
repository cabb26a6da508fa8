// Pictures on their way in: chosen, photographed, dropped or pasted.

import { api } from "./api.js";
import { $ } from "./dom.js";
import { keep } from "./image.js";
import { parameters } from "./state.js";

const SIDE = 480;

export function arrivals(upload, refuse) {
  const take = (files) => {
    if (files?.length) upload([...files]);
    return Boolean(files?.length);
  };
  for (const input of [$("file"), $("camera")]) {
    input.addEventListener("change", () => {
      take(input.files);
      input.value = ""; // the same file can be chosen again
    });
  }
  addEventListener("paste", (event) => {
    if (event.target.closest?.("input, select, textarea")) return; // text, even if copied as a picture too
    if (take(event.clipboardData?.files)) event.preventDefault();
  });
  let inside = 0; // dragenter and dragleave come for every element that is crossed
  const shows = () => { $("dropping").hidden = inside <= 0; };
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (carries(event)) inside += 1;
    shows();
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) inside -= 1;
    shows();
  });
  addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    inside = 0;
    shows();
    if (!carries(event)) return;
    event.preventDefault();
    const { files, items } = event.dataTransfer;
    const folders = [...items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
    if (folders) refuse("This is a folder: drop the pictures in it.");
    else take(files);
  });
}

// Searches by a file of at most so many bytes, and remembers its picture.
export async function send(file, wishes, most, signal) {
  try {
    if (file.size > most) {
      const [is, taken] = [file.size, most].map((n) => Math.ceil(n / 2 ** 20));
      throw new Error(`this file has ${is} MiB; at most ${taken} MiB are taken.`);
    }
    const headers = { "Content-Type": file.type || "application/octet-stream" };
    const options = { method: "POST", headers, body: file, signal };
    const [answer, src] = await Promise.all([
      api(`/api/search?${parameters(wishes)}`, options), preview(file),
    ]);
    signal.throwIfAborted();
    keep(answer, { src, name: file.name });
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") error.message = `${file.name}: ${error.message}`;
    throw error;
  }
}

// A small copy of a picture as a data URL, or null where the browser cannot read it.
async function preview(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const kind = Math.max(bitmap.width, bitmap.height) <= SIDE / 2 ? "image/png" : "image/jpeg";
    bitmap.close();
    return canvas.toDataURL(kind, 0.92);
  } catch {
    return null;
  }
}
