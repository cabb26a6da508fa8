"""Progress on stderr: bars on a terminal, events while messages are JSON, otherwise nothing."""

from __future__ import annotations

import io
from typing import Any

from tqdm import tqdm

from geosim.trainer.logs import as_json, log

EVENT_SECONDS = 10.0
"""Least time between two events of a progress; its start and its end are told at once."""


def progress_bar(
    description: str, total: int | None, *, unit: str = "image", unit_scale: bool = False
) -> tqdm[Any]:
    """Return a progress bar for a ``with`` block; ``unit_scale`` shows 34.0M for 34,000,000."""
    options: dict[str, Any] = {"total": total, "desc": description, "unit": f" {unit}"}
    if as_json():
        return _Events(file=io.StringIO(), mininterval=EVENT_SECONDS, miniters=1, **options)
    return tqdm(disable=None, smoothing=0.1, dynamic_ncols=True, unit_scale=unit_scale, **options)


class _Events(tqdm):  # type: ignore[type-arg]
    """Logs what a bar would show."""

    def display(self, *_: object, **__: object) -> None:
        """Log how far it is."""
        fields = {"done": self.n, "total": self.total, "unit": self.unit.strip()}
        log.info("%s", self.desc, extra={"fields": fields})
