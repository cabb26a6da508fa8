// Shows /openapi.json: each route with its parameters, its answer and an example.

import { $, el, span } from "./dom.js";

const JSON_TYPE = "application/json";

/** @type {OpenApi} */
const api = await (await fetch("/openapi.json")).json();

/** @param {string} reference */
const refName = (reference) => reference.split("/").at(-1) ?? "";

/** @type {(schema?: Schema) => string} */
function typeName(schema = {}) {
  if (schema.$ref) return refName(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeName).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const) return JSON.stringify(schema.const);
  const { type = "", format, minimum, maximum, minLength, maxLength, minItems, maxItems } = schema;
  if (type === "array") return `list of ${typeName(schema.items)}${range(minItems, maxItems, " items")}`;
  return `${type}${format ? ` (${format})` : ""}${range(minimum, maximum)}`
    + range(minLength, maxLength, " characters") + (schema.pattern ? `, ${schema.pattern}` : "");
}

/** @param {number} [least] @param {number} [most] */
function range(least, most, unit = "") {
  if (least === undefined && most === undefined) return "";
  if (least === most) return `, ${least}${unit}`;
  if (most === undefined) return `, ${least} or more${unit}`;
  return `, ${least === undefined ? "at most" : `${least} to`} ${most}${unit}`;
}

/** @param {string} title @param {string[][]} fields each a name, a type and a meaning */
function table(title, fields) {
  if (fields.length === 0) return null;
  const rows = fields.map(([name, type, meaning]) =>
    el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, type), el("td", {}, meaning)));
  const head = ["field", "type", "meaning"].map((text) => el("th", { scope: "col" }, text));
  return el("div", {}, el("h3", {}, title),
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
}

/** @param {Schema} [schema] */
function properties(schema) {
  const found = schema?.$ref ? api.components.schemas[refName(schema.$ref)] : schema;
  return Object.entries(found?.properties ?? {}).map(([name, property]) =>
    [name, typeName(property), property.description ?? ""]);
}

/** Return a command that requests a route. @param {string} path @param {Content} body */
function example(path, body) {
  const url = `${location.origin}${path.replace("{id}", "ID")}`;
  const curl = "curl -H 'Content-Type:";
  if ("image/*" in body) return `${curl} image/jpeg' --data-binary @photo.jpg '${url}?k=5'`;
  if (JSON_TYPE in body) return `${curl} ${JSON_TYPE}' -d '{"positive": ["ID"]}' '${url}'`;
  return `curl '${url}${path === "/api/search" ? "?embedding=..." : ""}'`;
}

/** @type {(path: string, verb: string, operation: Operation) => Node} */
function route(path, verb, { description, parameters = [], requestBody, responses = {} }) {
  const body = requestBody?.content ?? {};
  const answer = responses[200]?.content ?? {};
  const inputs = parameters.map(({ name, schema, description: meaning }) =>
    [name, typeName(schema), meaning ?? schema.description ?? ""]);
  const schema = answer[JSON_TYPE]?.schema;
  const outputs = schema ? properties(schema) : Object.keys(answer).map((type) => [type, "", ""]);
  return section([span("verb", verb.toUpperCase()), path], description,
    table("Parameters", inputs), table("Body, JSON", properties(body[JSON_TYPE]?.schema)),
    table("Answer", outputs), el("pre", {}, example(path, body)));
}

/** @type {(title: (Node | string)[], text?: string, ...children: (Node | null)[]) => Node} */
function section(title, text = "", ...children) {
  const paragraphs = text.split("\n\n").map((paragraph) => el("p", {}, paragraph));
  const heading = el("h2", {}, ...title);
  return el("section", { class: "panel route" }, heading, ...paragraphs, ...children);
}

$("about").textContent = api.info.description;
for (const [path, operations] of Object.entries(api.paths)) {
  const verbs = ["post", "get"].filter((verb) => verb in operations);
  $("routes").append(...verbs.map((verb) => route(path, verb, operations[verb])));
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  if (!/Answer|Image|Count/.test(name)) continue;
  $("routes").append(section([name], schema.description, table("Fields", properties(schema))));
}
