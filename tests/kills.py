"""Ends a process amid its work, as a kill at a chosen moment does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def die_at(at: int, *functions: tuple[Any, str]) -> None:
    """Kill this process at the call number ``at`` of all that these functions get from now on.

    A function is given by its owner, a class or module, and its name.
    """
    calls = 0

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for owner, name in functions:
        setattr(owner, name, dying(getattr(owner, name)))
