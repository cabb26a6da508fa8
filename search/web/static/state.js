// The page's state, which is its address: the query, the options, and the view.

/** @import { Image, UploadedImage } from "./api.js" */

/** @typedef {"k" | "class" | "min_score" | "one_per"} OptionName */
/** @typedef {Partial<Record<OptionName, string>>} Options which hits to show; empty for the default */
/** @typedef {{ kind: "embedding" } & UploadedImage} EmbeddingQuery */
/** @typedef {{ kind: "point", id: string }} PointQuery */
/** @typedef {{ kind: "examples", positive: string[], negative: string[] }} ExamplesQuery */
/** @typedef {EmbeddingQuery | PointQuery | ExamplesQuery} Query examples are keys of images */
/** @typedef {[name: string, value: string]} Parameter */

/** @type {OptionName[]} */
export const OPTION_NAMES = ["k", "class", "min_score", "one_per"];

/**
 * Return the key of an image in an address: its id, or "embedding.sha256.model" of an upload.
 * @param {Image} image
 */
export function imageKey(image) {
  return "id" in image ? image.id : `${image.embedding}.${image.sha256}.${image.model ?? ""}`;
}

/**
 * Return an image as the API takes it: an id, or an upload.
 * @param {string} key
 * @returns {string | UploadedImage}
 */
export function parseKey(key) {
  const [embedding, sha256, model = ""] = key.split(".");
  return sha256 === undefined ? key : { embedding, sha256, model };
}

/**
 * Return the query, the options and the view of an address.
 * @param {{ pathname: string, search: string }} location
 */
export function readAddress({ pathname, search }) {
  const found = new URLSearchParams(search);
  /** @type {Options} */
  const options = Object.fromEntries(OPTION_NAMES.map((name) => [name, found.get(name) ?? ""]));
  return { map: pathname === "/map", query: readQuery(found), options };
}

/**
 * @param {URLSearchParams} found
 * @returns {Query | null}
 */
function readQuery(found) {
  const [embedding, id] = [found.get("embedding"), found.get("id")];
  if (embedding !== null) {
    const [sha256, model] = [found.get("sha256") ?? "", found.get("model") ?? ""];
    return { kind: "embedding", embedding, sha256, model };
  }
  if (id !== null) return { kind: "point", id };
  if (!found.has("like")) return null;
  return { kind: "examples", positive: found.getAll("like"), negative: found.getAll("unlike") };
}

/**
 * Return the parameters of a request or an address; empty ones are left out.
 * @param {Options} options
 * @param {Parameter[]} [others]
 */
export function parameters(options, others = []) {
  const own = OPTION_NAMES.map((name) => [name, options[name] ?? ""]);
  return new URLSearchParams([...others, ...own].filter(([, value]) => value !== ""));
}

/**
 * Return the parameters that name an upload.
 * @param {UploadedImage} image
 * @returns {Parameter[]}
 */
export function uploadParameters({ embedding, sha256, model = "" }) {
  return Object.entries({ embedding, sha256, model });
}

/**
 * Return the address of a search.
 * @param {Query | null} query
 * @param {Options} options
 */
export function address(query, options) {
  const text = parameters(options, queryParameters(query)).toString();
  return text ? `/?${text}` : "/";
}

/**
 * @param {Query | null} query
 * @returns {Parameter[]}
 */
function queryParameters(query) {
  if (query === null) return [];
  if (query.kind === "embedding") return uploadParameters(query);
  if (query.kind === "point") return [["id", query.id]];
  /** @type {(name: string, keys: string[]) => Parameter[]} */
  const all = (name, keys) => keys.map((key) => [name, key]);
  return [...all("like", query.positive), ...all("unlike", query.negative)];
}

/** Return a random embedding in base64url, so that each visit starts from other images. */
export function randomEmbedding() {
  const view = new DataView(new ArrayBuffer(128));
  for (let i = 0; i < 32; i += 1) view.setFloat32(4 * i, Math.random() ** 3 + 1e-3, true);
  const bytes = String.fromCharCode(...new Uint8Array(view.buffer));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
