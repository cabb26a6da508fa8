"""Progress bars: on stderr, with rate and time left, and gone when stderr is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from geosim.trainer.closing import Closing
from tqdm import tqdm

T = TypeVar("T")


class Progress(Closing):
    """A bar that advances by the number of things just done."""

    def __init__(self, what: str, total: int, *, unit: str = "image") -> None:
        self._bar = tqdm(
            total=total, desc=what, unit=f" {unit}", disable=None, smoothing=0.1, dynamic_ncols=True
        )

    def update(self, done: int) -> None:
        """Advance by ``done``."""
        self._bar.update(done)

    def each(self, things: Iterable[T]) -> Iterator[T]:
        """Yield ``things`` and advance by one after each."""
        for thing in things:
            yield thing
            self._bar.update(1)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
