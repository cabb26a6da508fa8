// Pictures of images, indexed or uploaded. Remembers uploaded pictures for this session.

import { el, span } from "./dom.js";

const CAPACITY = 40; // uploads that are remembered after a reload
const STORAGE_KEY = "geosim-pictures";

const uploads = readUploads(); // by embedding

/** Create a picture, or a text where there is none. @param {Image} image @param {string} alt */
export function thumbnail(image, alt, side = 256) {
  if ("id" in image) return storedPicture(`${image.picture}?side=${side}`, alt);
  const upload = uploads.get(image.embedding);
  if (upload?.src) return el("img", { src: upload.src, alt });
  if (side <= 128) return missing("–");
  return missing(
    upload ? "your browser cannot show this kind of picture" : "the picture is not kept");
}

/** @param {string} src @param {string} alt */
function storedPicture(src, alt) {
  const element = el("img", { src, alt, loading: "lazy", decoding: "async" });
  element.onerror = () => { // a busy server refuses pictures: ask a second time
    element.onerror = () => element.replaceWith(missing("the picture cannot be had"));
    setTimeout(() => (element.src = `${src}&again=1`), 1000);
  };
  return element;
}

/** @param {string} text */
const missing = (text) => span("missing", text);

/** @param {Image} image */
export const imageName = (image) =>
  "id" in image ? image.path : uploads.get(image.embedding)?.name ?? "an uploaded picture";

/** @param {UploadedImage} image */
export const uploadedSource = ({ embedding }) => uploads.get(embedding)?.src ?? null;

/** Return the image that an upload is, or is a part of. @param {UploadedImage} image */
export const wholeOf = ({ embedding }) => uploads.get(embedding)?.whole ?? null;

/** @param {UploadedImage} image @param {Upload} upload */
export function rememberUpload({ embedding }, upload) {
  uploads.delete(embedding);
  uploads.set(embedding, upload);
  for (let latest = [...uploads].slice(-CAPACITY); latest.length; latest = latest.slice(1)) {
    try {
      sessionStorage.setItem(STORAGE_KEY, JSON.stringify(latest));
      return;
    } catch {
      // Full: try without the oldest. Forbidden: the search works without pictures.
    }
  }
}

/** Return a part as an example for other searches. @param {Image} image @param {Answer} answer */
export function rememberPart(image, { embedding, sha256, model }) {
  if (!("id" in image) || embedding === null || sha256 === null) return image;
  const part = { embedding, sha256, model };
  rememberUpload(part, { src: `${image.picture}?side=512`, name: `part of ${image.path}` });
  return part;
}

/** @returns {Map<string, Upload>} */
function readUploads() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}
