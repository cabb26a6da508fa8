"""What is closed at the end of a ``with`` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

C = TypeVar("C", bound="Closing")


class Closing(ABC):
    """Something with a `close`, to be used in a ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def __enter__(self: C) -> C:
        """Enter a ``with`` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close at the end of a ``with`` block."""
        self.close()
