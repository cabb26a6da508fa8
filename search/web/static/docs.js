// Shows /openapi.json: each route with its parameters, its answer and an example.

import { $, el, span } from "./dom.js";

// The parts of OpenAPI that the server uses.

/**
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {Schema[]} [anyOf]
 * @property {unknown[]} [enum]
 * @property {unknown} [const]
 * @property {string} [type]
 * @property {string} [format]
 * @property {Schema} [items]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {string} [description]
 * @property {Record<string, Schema>} [properties]
 */
/** @typedef {Record<string, { schema?: Schema }>} Content by media type */
/**
 * @typedef {object} Operation
 * @property {string} [description]
 * @property {{ name: string, description?: string, schema: Schema }[]} [parameters]
 * @property {{ content: Content }} [requestBody]
 * @property {Record<string, { content?: Content }>} [responses]
 */
/**
 * @typedef {object} OpenApi
 * @property {{ description: string }} info
 * @property {Record<string, Record<string, Operation>>} paths
 * @property {{ schemas: Record<string, Schema> }} components
 */
/** @typedef {[name: string, type: string, meaning: string]} Field */

const VERBS = ["post", "get"];
const JSON_TYPE = "application/json";

/** @type {OpenApi} */
const api = await (await fetch("/openapi.json")).json();

/** @param {string} reference */
const refName = (reference) => reference.split("/").at(-1) ?? "";

/**
 * @param {Schema} [schema]
 * @returns {string}
 */
function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return refName(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeName).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  const { type = "", format, minimum = "", maximum = "" } = schema;
  const range = `${minimum}${maximum}` === "" ? "" : `, ${minimum} to ${maximum}`;
  return `${type}${format ? ` (${format})` : ""}${range}`;
}

/**
 * @param {string} title
 * @param {Field[]} fields
 */
function table(title, fields) {
  if (fields.length === 0) return null;
  const rows = fields.map(([name, type, meaning]) =>
    el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, type), el("td", {}, meaning)),
  );
  const head = ["field", "type", "meaning"].map((text) => el("th", { scope: "col" }, text));
  return el(
    "div",
    {},
    el("h3", {}, title),
    el(
      "div",
      { class: "fields" },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)),
    ),
  );
}

/**
 * @param {Schema} [schema]
 * @returns {Field[]}
 */
function properties(schema) {
  const found = schema?.$ref ? api.components.schemas[refName(schema.$ref)] : schema;
  return Object.entries(found?.properties ?? {}).map(([name, property]) => [
    name,
    typeName(property),
    property.description ?? "",
  ]);
}

/**
 * Return a command that requests a route.
 * @param {string} path
 * @param {Content} body
 */
function example(path, body) {
  const url = `${location.origin}${path.replace("{id}", "ID")}`;
  if ("image/*" in body) {
    return `curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg '${url}?k=5'`;
  }
  if (JSON_TYPE in body) {
    return `curl -H 'Content-Type: ${JSON_TYPE}' -d '{"positive": ["ID"]}' '${url}'`;
  }
  return `curl '${url}${path === "/api/search" ? "?embedding=..." : ""}'`;
}

/**
 * @param {string} path
 * @param {string} verb
 * @param {Operation} operation
 */
function route(path, verb, { description = "", parameters = [], requestBody, responses = {} }) {
  const body = requestBody?.content ?? {};
  const answer = responses[200]?.content ?? {};
  /** @type {Field[]} */
  const inputs = parameters.map(({ name, schema, description: meaning }) => [
    name,
    typeName(schema),
    meaning ?? schema.description ?? "",
  ]);
  /** @type {Field[]} */
  const media = Object.keys(answer).map((type) => [type, "", ""]);
  const outputs = answer[JSON_TYPE]?.schema ? properties(answer[JSON_TYPE].schema) : media;
  return el(
    "section",
    { class: "panel route" },
    el("h2", {}, span("verb", verb.toUpperCase()), path),
    ...description.split("\n\n").map((text) => el("p", {}, text)),
    table("Parameters", inputs),
    table("Body, JSON", properties(body[JSON_TYPE]?.schema)),
    table("Answer", outputs),
    el("pre", {}, example(path, body)),
  );
}

/**
 * @param {string} name
 * @param {Schema} schema
 */
function schemaSection(name, schema) {
  return el(
    "section",
    { class: "panel route" },
    el("h2", {}, name),
    el("p", {}, schema.description ?? ""),
    table("Fields", properties(schema)),
  );
}

$("about").textContent = api.info.description;
for (const [path, operations] of Object.entries(api.paths)) {
  for (const verb of VERBS.filter((name) => name in operations)) {
    $("routes").append(route(path, verb, operations[verb]));
  }
}
for (const [name, schema] of Object.entries(api.components.schemas)) {
  if (/Answer|Image|Count/.test(name)) $("routes").append(schemaSection(name, schema));
}
