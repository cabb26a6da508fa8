"""Progress bars on stderr, hidden where stderr is no terminal."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(
    description: str, total: int | None, *, unit: str = "image", unit_scale: bool = False
) -> tqdm[Any]:
    """Return a progress bar for a ``with`` block; ``unit_scale`` shows 34.0M for 34,000,000."""
    options: dict[str, Any] = {"disable": None, "smoothing": 0.1, "dynamic_ncols": True}
    return tqdm(total=total, desc=description, unit=f" {unit}", unit_scale=unit_scale, **options)
