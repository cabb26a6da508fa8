"""The page that describes the API, ``/docs``: each route with its parameters and answer.

It is made of the application's OpenAPI document, and needs no script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

JSON = "application/json"

DESCRIBED = re.compile("Answer|Image|Count")
"""Schemas that are described besides the routes."""

Fields = Sequence[tuple[str, str, str]]
"""Name, type and meaning of each field."""


def reference_page(template: Path, document: Mapping[str, Any], origin: str) -> str:
    """Return the page as HTML: a file whose elements ``#about`` and ``#routes`` are filled.

    ``origin`` is the address of the server that its examples name.
    """
    about = _html("p", document["info"]["description"], id="about")
    routes = _html("div", *_sections(document, origin), id="routes")
    page = template.read_text(encoding="utf-8")
    for empty, element in (('<p id="about"></p>', about), ('<div id="routes"></div>', routes)):
        page = page.replace(empty, ElementTree.tostring(element, "unicode", method="html"))
    return page


def _html(tag: str, *children: Element | str, **attributes: str) -> Element:
    element = Element(tag, {name.strip("_"): value for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child
    return element


def _sections(document: Mapping[str, Any], origin: str) -> Iterator[Element]:
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for verb in ("post", "get"):
            if verb in operations:
                yield _route(path, verb, operations[verb], schemas, origin)
    for name, schema in schemas.items():
        if DESCRIBED.search(name):
            table = _table("Fields", _properties(schema, schemas))
            yield _section([name], schema.get("description", ""), table)


def _route(
    path: str, verb: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], origin: str
) -> Element:
    body = operation.get("requestBody", {}).get("content", {})
    answer = operation.get("responses", {}).get("200", {}).get("content", {})
    inputs = [
        (one["name"], type_name(one["schema"]), one.get("description", ""))
        for one in operation.get("parameters", [])
    ]
    schema = answer.get(JSON, {}).get("schema")
    outputs = _properties(schema, schemas) if schema else [(name, "", "") for name in answer]
    return _section(
        [_html("span", verb.upper(), class_="verb"), path],
        operation.get("description", ""),
        _table("Parameters", inputs),
        _table("Body, JSON", _properties(body.get(JSON, {}).get("schema", {}), schemas)),
        _table("Answer", outputs),
        [_html("pre", _example(f"{origin}{path}", body))],
    )


def _section(title: Sequence[Element | str], text: str, *parts: Sequence[Element]) -> Element:
    paragraphs = [_html("p", one) for one in text.split("\n\n")]
    children = (one for part in parts for one in part)
    return _html("section", _html("h2", *title), *paragraphs, *children, class_="panel route")


def _table(title: str, fields: Fields) -> list[Element]:
    if not fields:
        return []
    head = _html("tr", *(_html("th", one, scope="col") for one in ("field", "type", "meaning")))
    rows = (
        _html("tr", _html("td", _html("code", name)), _html("td", kind), _html("td", meaning))
        for name, kind, meaning in fields
    )
    table = _html("table", _html("thead", head), _html("tbody", *rows))
    return [_html("div", _html("h3", title), table)]


def _properties(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Fields:
    found = schemas[_reference(schema)] if "$ref" in schema else schema
    return [
        (name, type_name(one), one.get("description", ""))
        for name, one in found.get("properties", {}).items()
    ]


def _reference(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def type_name(schema: Mapping[str, Any]) -> str:
    """Return what values a schema allows, in words."""
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(map(type_name, schema["anyOf"]))
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        return " or ".join(json.dumps(one, ensure_ascii=False) for one in values)
    kind = schema.get("type", "")
    if kind == "array":
        items = type_name(schema.get("items", {}))
        return f"list of {items}{_range(schema, 'minItems', 'maxItems', ' items')}"
    form = f" ({schema['format']})" if "format" in schema else ""
    pattern = f", {schema['pattern']}" if "pattern" in schema else ""
    return (
        f"{kind}{form}{_range(schema, 'minimum', 'maximum')}"
        f"{_range(schema, 'minLength', 'maxLength', ' characters')}{pattern}"
    )


def _range(schema: Mapping[str, Any], lower: str, upper: str, unit: str = "") -> str:
    least, most = schema.get(lower), schema.get(upper)
    if least is None and most is None:
        return ""
    if least == most:
        return f", {least}{unit}"
    if most is None:
        return f", {least} or more{unit}"
    return f", {'at most' if least is None else f'{least} to'} {most}{unit}"


def _example(url: str, body: Mapping[str, Any]) -> str:
    """Return a command that requests a route."""
    url = url.replace("{id}", "ID")
    if "image/*" in body:
        return f"curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg '{url}?k=5'"
    if JSON in body:
        return f"""curl -H 'Content-Type: {JSON}' -d '{{"positive": ["ID"]}}' '{url}'"""
    return f"curl '{url}{'?embedding=...' if url.endswith('/api/search') else ''}'"
