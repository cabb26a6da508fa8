"""The map as a client of the API reads it."""

from __future__ import annotations

import struct
from typing import Any

import httpx
import numpy as np
import orjson


def answered(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """Ask until the map is drawn; pytest's timeout bounds it."""
    while (answer := client.request(method, path, **request)).status_code == 202:
        assert answer.headers["retry-after"] == "1"
        told = answer.json()
        assert 0 <= told["done"] <= told["total"] or told["total"] == 0
    assert answer.status_code == 200, answer.text
    return answer


def drawn(client: httpx.Client) -> dict[str, Any]:
    """Return the map: its head, ``places (n, 2)``, and ``ids`` and ``paths`` of the points."""
    body = answered(client, "GET", "/api/map").content
    (length,) = struct.unpack("<I", body[:4])
    head = orjson.loads(body[4 : 4 + length])
    places = np.frombuffer(body[4 + length :], "<u2").reshape(2, -1).T
    assert len(places) == sum(head["sizes"])
    wanted = {"tag": head["tag"], "rows": list(range(len(places)))}
    points = answered(client, "POST", "/api/map/points", json=wanted).json()["points"]
    assert [one["row"] for one in points] == wanted["rows"]
    images = [one["image"] for one in points]
    return {**head, "places": places, "images": images, "ids": [one["id"] for one in images]}
