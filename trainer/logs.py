"""What goes to stderr as JSON, one object a line, by the standard library's `logging`.

Without `json_logs` messages are lines of text and nothing here has an effect.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

log = logging.getLogger("geosim")
"""Logger of all messages that are text on stderr otherwise."""


@contextmanager
def json_logs(command: str) -> Iterator[None]:
    """Write all records of the block as JSON, those of `log` from the level info on.

    An object has ``time`` (ISO 8601, UTC), ``level``, ``command``, ``logger`` and ``message``, the
    items of ``extra={"fields": ...}``, and ``exception`` with a traceback.
    """
    root, handler = logging.getLogger(), _Handler(sys.stderr)
    handler.setFormatter(_Formatter(command))
    before = root.handlers[:], log.level
    root.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        log.setLevel(before[1])


def as_json() -> bool:
    """Return whether messages are JSON."""
    return any(isinstance(handler, _Handler) for handler in logging.getLogger().handlers)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Raise what a full disk or a closed pipe raises, as printing does."""
        raise  # noqa: PLE0704 - called in an except block


class _Formatter(logging.Formatter):
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of printable ASCII."""
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "command": self._command,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        valid = {key: _valid(value) for key, value in entry.items()}
        return json.dumps(valid).replace("\x7f", "\\u007f")


def _valid(value: Any) -> Any:
    """Return text with bytes that are no UTF-8 escaped."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
