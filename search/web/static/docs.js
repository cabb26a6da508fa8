// Shows /openapi.json: every route with its parameters, its answer and a line to try it with.

import { $, el } from "./dom.js";

const VERBS = ["post", "get"];
const root = await (await fetch("/openapi.json")).json();

function type(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((one) => type(one)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${type(schema.items)}`;
  const bounds = [schema.minimum, schema.maximum].map((one) => one ?? "");
  const range = bounds.join("") === "" ? "" : `, ${bounds.join(" to ")}`;
  return `${schema.type ?? ""}${schema.format ? ` (${schema.format})` : ""}${range}`;
}

function fields(title, rows) {
  if (rows.length === 0) return null;
  const cells = rows.map(([name, kind, text]) =>
    el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, kind), el("td", {}, text ?? "")));
  const head = el("tr", {}, ...["field", "type", "meaning"].map((one) => el("th", { scope: "col" }, one)));
  return el("div", {}, el("h3", {}, title),
    el("div", { class: "fields" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...cells))));
}

function properties(schema) {
  const name = schema?.$ref?.split("/").pop();
  const found = name ? root.components.schemas[name] : null;
  return Object.entries(found?.properties ?? {}).map(([field, one]) =>
    [field, type(one), one.description]);
}

function example(path, operation) {
  const url = `${location.origin}${path.replace("{id}", "ID")}`;
  const body = operation.requestBody?.content ?? {};
  if (body["image/*"]) return `curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg '${url}?k=5'`;
  if (body["application/json"]) {
    return `curl -H 'Content-Type: application/json' -d '{"positive": ["ID"]}' '${url}'`;
  }
  return `curl '${url}${path === "/api/search" ? "?embedding=..." : ""}'`;
}

function route(path, verb, operation) {
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const answers = operation.responses?.[200]?.content ?? {};
  const answer = answers["application/json"]?.schema;
  const asked = (operation.parameters ?? []).map((one) =>
    [one.name, type(one.schema), one.description ?? one.schema.description]);
  return el("section", { class: "panel route" },
    el("h2", {}, el("span", { class: "verb" }, verb.toUpperCase()), path),
    ...(operation.description ?? "").split("\n\n").map((text) => el("p", {}, text)),
    fields("Parameters", asked),
    fields("Body, JSON", properties(body)),
    fields("Answer", answer ? properties(answer) : Object.keys(answers).map((kind) => [kind, "", ""])),
    el("pre", {}, example(path, operation)));
}

$("about").textContent = root.info.description;
for (const [path, operations] of Object.entries(root.paths)) {
  for (const verb of VERBS.filter((one) => operations[one])) {
    $("routes").append(route(path, verb, operations[verb]));
  }
}
for (const [name, schema] of Object.entries(root.components.schemas)) {
  if (!/Answer|Image|Count/.test(name)) continue;
  $("routes").append(el("section", { class: "panel route" }, el("h2", {}, name),
    el("p", {}, schema.description ?? ""), fields("Fields", properties({ $ref: name }))));
}
