// Pictures of images; remembers uploaded ones for this session.

import { el, span } from "./dom.js";
import { keep, recall } from "./storage.js";

const CAPACITY = 40; // uploads that are remembered after a reload
const KEPT = "pictures";
const place = () => sessionStorage;

const uploads = /** @type {Map<string, Upload>} by embedding */ (new Map(recall(KEPT, place)));

/** Create a picture, or a text in place of it. @type {Thumbnail} */
export function thumbnail(image, alt, side = 256) {
  if ("id" in image) {
    const src = `${image.picture}?side=${side}`;
    const picture = el("img", { src, alt, loading: "lazy", decoding: "async" });
    picture.onerror = () => { // a busy server refuses pictures: ask a second time
      picture.onerror = () => picture.replaceWith(span("missing", "the picture cannot be had"));
      setTimeout(() => (picture.src = `${src}&again=1`), 1000);
    };
    return picture;
  }
  const upload = uploads.get(image.embedding);
  if (upload?.src) return el("img", { src: upload.src, alt });
  const why = upload ? "your browser cannot show this kind of picture" : "the picture is not kept";
  return span("missing", side <= 128 ? "–" : why);
}

/** @param {Image} image */
export const imageName = (image) =>
  "id" in image ? image.path : uploads.get(image.embedding)?.name ?? "an uploaded picture";

/** @param {UploadedImage} image */
export const uploadedSource = ({ embedding }) => uploads.get(embedding)?.src ?? null;

/** What an upload is, or is a part of. @param {UploadedImage} image */
export const wholeOf = ({ embedding }) => uploads.get(embedding)?.whole ?? null;

/** @type {RememberUpload} */
export function rememberUpload({ embedding }, upload) {
  uploads.delete(embedding);
  uploads.set(embedding, upload);
  let latest = [...uploads].slice(-CAPACITY);
  while (latest.length && !keep(KEPT, latest, place)) latest = latest.slice(1); // without the oldest
}

/** Return a part as an example for other searches. @type {RememberPart} */
export function rememberPart(image, { embedding, sha256, model }) {
  if (!("id" in image) || embedding === null || sha256 === null) return image;
  const part = { embedding, sha256, model };
  rememberUpload(part, { src: `${image.picture}?side=512`, name: `part of ${image.path}` });
  return part;
}
