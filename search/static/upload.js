// Pictures on their way in: chosen, dropped or pasted; and what this session remembers of them.

import { $ } from "./dom.js";

const REMEMBERED = 20;
const SIDE = 480;
const KEY = "geosim-pictures";

export function arrivals(upload) {
  const take = (files) => {
    if (files?.length) upload(files[0]);
    return Boolean(files?.length);
  };
  $("file").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // the same file can be chosen again
  });
  addEventListener("paste", (event) => {
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
    take(event.dataTransfer.files);
  });
}

// A small copy of a picture as a data URL, or null where the browser cannot read it.
export async function preview(file) {
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

function all() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}

export function keep(embedding, picture) {
  const pictures = all();
  pictures.delete(embedding);
  pictures.set(embedding, picture);
  const latest = [...pictures].slice(-REMEMBERED);
  for (const some of [latest, latest.slice(-1)]) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(some));
      return;
    } catch {
      // full, or forbidden: the picture is then not shown again after a reload
    }
  }
}

export function kept(embedding) {
  return all().get(embedding) ?? null;
}
