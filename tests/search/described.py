"""Facts of the pictures of the sample."""

from __future__ import annotations

import re
from typing import Any

from geosim.ingest.schema import Change
from geosim.ingest.store.base import VectorStore

ODD = 'Probe, "neu" (m)'.replace('"', "'")
KINDS = {
    "hole": "keyword",
    "depth": "float",
    "sampled": "datetime",
    "oriented": "keyword",
    "location": "geo",
    ODD: "keyword",
}


def facts(path: str) -> dict[str, Any]:
    """The facts of a picture of the sample; the last of each class, and others, have none."""
    found = re.search(r"-([0-9]{4})\.jpg$", path)
    if found is None or found[1] == "0011":
        return {}
    number = int(found[1])
    return {
        "hole": f"A-{number % 4}",
        "depth": 2900 + number * 10.5,
        "sampled": f"2024-05-{number + 1:02}",
        "oriented": "yes" if number % 2 else "no",
        "location": {"lat": 51.0 + number / 10, "lon": -0.1},
        ODD: f'=1+{number}, "x"',
    }


def describe(store: VectorStore) -> None:
    paths = [point.payload for batch in store.scan(vectors=False) for point in batch]
    store.index_facts(KINDS)
    store.update([Change((one.id,), facts=facts(one.path)) for one in paths if facts(one.path)])
