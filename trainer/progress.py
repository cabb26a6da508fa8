"""Progress bars: on stderr, with rate and time left, and hidden when stderr is no terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(
    what: str, total: int | None, *, unit: str = "image", unit_scale: bool = False
) -> tqdm[Any]:
    """Return a progress bar, to be used in a ``with`` block and advanced by its `update`.

    Args:
        what: what is being done.
        total: number of units.
        unit: what is counted.
        unit_scale: whether to abbreviate large numbers: 34.0M.
    """
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        unit_scale=unit_scale,
        disable=None,
        smoothing=0.1,
        dynamic_ncols=True,
    )
