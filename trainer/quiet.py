"""What libraries log, where geosim says it better."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_QUIET: ContextVar[frozenset[str]] = ContextVar("quiet", default=frozenset())
"""Names of the loggers whose records this thread drops."""


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Drop what this thread logs with the loggers of these names; other records are kept."""
    for name in names:
        logging.getLogger(name).addFilter(_wanted)
    token = _QUIET.set(_QUIET.get().union(names))
    try:
        yield
    finally:
        _QUIET.reset(token)


def _wanted(record: logging.LogRecord) -> bool:
    """Tell whether to keep a record; the filter stays, as another thread may go over it now."""
    return record.name not in _QUIET.get()
