// The page's state, which is its address: the query, the options, and the view.

export const OPTION_NAMES = /** @type {const} */ (
  ["k", "class", "min_score", "one_per", "not_same", "together_by", "where", "area", "without_wrong", "show"]);

/** Return the key of an image in an address. @param {Image} image */
export const imageKey = (image) =>
  "id" in image ? image.id : `${image.embedding}.${image.sha256}.${image.model ?? ""}`;

/** Return an image as the API takes it. @param {string} key */
export function parseKey(key) {
  const [embedding, sha256, model = ""] = key.split(".");
  return sha256 === undefined ? key : { embedding, sha256, model };
}

/** @param {{ pathname: string, search: string }} location */
export function readAddress({ pathname, search }) {
  const found = new URLSearchParams(search);
  /** @type {Options} */
  const options = Object.fromEntries(OPTION_NAMES.map((name) => [name, found.get(name) ?? ""]));
  return { map: pathname === "/map", query: readQuery(found), options };
}

/** @param {URLSearchParams} found @returns {Query | null} */
function readQuery(found) {
  const [embedding, id] = [found.get("embedding"), found.get("id")];
  const [sha256, model, crop] = ["sha256", "model", "crop"].map((name) => found.get(name) ?? "");
  if (embedding !== null) return { kind: "embedding", embedding, sha256, model, crop };
  if (id !== null) return { kind: "point", id, crop };
  if (!found.has("like")) return null;
  return { kind: "examples", positive: found.getAll("like"), negative: found.getAll("unlike") };
}

/** @type {ParametersOf} */
export function parameters(options, query = null) {
  const all = [...queryParameters(query), ...OPTION_NAMES.map((name) => [name, options[name] ?? ""])];
  return new URLSearchParams(all.filter(([, value]) => value));
}

/** @param {Query | null} query @returns {string[][]} */
function queryParameters(query) {
  if (query?.kind !== "examples") return Object.entries(query ?? {}).filter(([name]) => name !== "kind");
  const { positive, negative } = query;
  return [...positive.map((key) => ["like", key]), ...negative.map((key) => ["unlike", key])];
}

/** @type {AddressOf} */
export function address(query, options) {
  const text = `${parameters(options, query)}`;
  return text ? `/?${text}` : "/";
}

/** @type {AddressOf} */
export const mapAddress = (query, options) => address(query, options).replace("/", "/map");

/** Return one in base64url, so that each visit starts from other images. */
export function randomEmbedding() {
  const { buffer } = Float32Array.from({ length: 32 }, () => Math.random() ** 3 + 1e-3);
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
