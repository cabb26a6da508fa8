"""Finds similar images, writes the neighbour graph and shows both; owns the `geosim` commands.

The Python API is what this package exports::

    from geosim.search import open_index

    with open_index("working") as index:
        for hit in index.search("new.jpg", k=5):
            print(hit.rank, hit.score, hit.label, hit.path)
"""

from __future__ import annotations

TYPE_CHECKING = False  # no import before the commands handle Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from geosim.search.index import Index, Neighbours, open_index
    from geosim.search.queries import QueryLike
    from geosim.search.types import Hit, Result
    from geosim.trainer.errors import GeosimError

__all__ = ["GeosimError", "Hit", "Index", "Neighbours", "QueryLike", "Result", "open_index"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use: `geosim --help` needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from geosim.search import index
    from geosim.trainer import errors

    return getattr(errors if name == "GeosimError" else index, name)
