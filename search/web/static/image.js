// Pictures of images, indexed or uploaded. Remembers uploaded pictures for this session.

import { el, missing, picture } from "./dom.js";

/** @import { Image, UploadedImage } from "./api.js" */
/** @typedef {{ src: string | null, name: string }} Upload a data URL, null where none could be made */

const CAPACITY = 40; // uploads that are remembered after a reload
const STORAGE_KEY = "geosim-pictures";

/** @type {Map<string, Upload>} by embedding */
const uploads = readUploads();

/**
 * Create the picture of an image, or a text where there is none.
 * @param {Image} image
 * @param {string} alt
 * @param {number} side in pixels
 */
export function thumbnail(image, alt, side) {
  if ("id" in image) return picture(image, alt, side);
  const upload = uploads.get(image.embedding);
  if (upload?.src) return el("img", { src: upload.src, alt });
  if (side <= 128) return missing("–");
  return missing(
    upload ? "your browser cannot show this kind of picture" : "the picture is not kept",
  );
}

/** @param {Image} image */
export function imageName(image) {
  if ("id" in image) return image.path;
  return uploads.get(image.embedding)?.name ?? "an uploaded picture";
}

/**
 * Remember an uploaded picture. The oldest are dropped where the session's storage is full.
 * @param {UploadedImage} image
 * @param {Upload} upload
 */
export function rememberUpload(image, upload) {
  uploads.delete(image.embedding);
  uploads.set(image.embedding, upload);
  for (let latest = [...uploads].slice(-CAPACITY); latest.length; latest = latest.slice(1)) {
    try {
      sessionStorage.setItem(STORAGE_KEY, JSON.stringify(latest));
      return;
    } catch {
      // full or forbidden: the search works without the picture
    }
  }
}

/** @returns {Map<string, Upload>} */
function readUploads() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}
