// A search as an address: what the page shows follows from the URL alone.

// What names an image in an address and to the API; an uploaded one is "embedding.sha256.model".
export const keyOf = (one) => one.id ?? `${one.embedding}.${one.sha256}.${one.model ?? ""}`;

export function example(key) {
  const [embedding, sha256, model = ""] = key.split(".");
  return sha256 === undefined ? key : { embedding, sha256, model };
}

const uploaded = ["embedding", "sha256", "model"];

// What names an uploaded picture in an address and to the API.
export const named = (one) => uploaded.map((name) => [name, one[name] ?? ""]);

export const WISHES = ["k", "class", "min_score", "one_per"];

export function read(location) {
  const found = new URLSearchParams(location.search);
  let query = null;
  if (found.has("embedding")) {
    const [embedding, sha256, model] = uploaded.map((name) => found.get(name) ?? "");
    query = { kind: "embedding", embedding, sha256, model };
  } else if (found.has("id")) {
    query = { kind: "point", id: found.get("id") };
  } else if (found.has("like")) {
    query = { kind: "set", positive: found.getAll("like"), negative: found.getAll("unlike") };
  }
  const wishes = Object.fromEntries(WISHES.map((name) => [name, found.get(name) ?? ""]));
  return { map: location.pathname === "/map", query, wishes };
}

export function parameters(wishes, more = []) {
  const chosen = WISHES.map((name) => [name, wishes[name] ?? ""]);
  return new URLSearchParams([...more, ...chosen].filter(([, value]) => value !== ""));
}

export function address(query, wishes) {
  const more = {
    embedding: () => named(query),
    point: () => [["id", query.id]],
    set: () => [
      ...query.positive.map((key) => ["like", key]), ...query.negative.map((key) => ["unlike", key]),
    ],
  }[query?.kind]?.();
  const text = parameters(wishes, more).toString();
  return text ? `/?${text}` : "/";
}

// An embedding that no picture has: the best hit of each class is then a different one each time.
export function anywhere() {
  const view = new DataView(new ArrayBuffer(128));
  for (let i = 0; i < 32; i += 1) view.setFloat32(4 * i, Math.random() ** 3 + 1e-3, true);
  const bytes = String.fromCharCode(...new Uint8Array(view.buffer));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
