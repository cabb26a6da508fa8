"""Finds similar images, writes the neighbour graph and shows both; owns the `geosim` commands.

The Python API is what this package exports::

    from search import open_index

    with open_index("working") as index:
        for hit in index.search("new.jpg", k=5):
            print(hit.rank, hit.score, hit.label, hit.path)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.examples import Example
    from search.hits import Hit, Result
    from search.index import Index, Neighbours, open_index
    from trainer.errors import GeosimError

__all__ = ["Example", "GeosimError", "Hit", "Index", "Neighbours", "Result", "open_index"]

_HOMES = {
    "Example": "search.examples",
    "GeosimError": "trainer.errors",
    "Hit": "search.hits",
    "Index": "search.index",
    "Neighbours": "search.index",
    "Result": "search.hits",
    "open_index": "search.index",
}


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first asked for: `geosim --help` asks for none."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
