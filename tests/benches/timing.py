"""Takes times: contenders in turn, round by round.

A machine drifts: it warms up, others use it. Where every contender runs once per round, a ratio of
two figures of one round is free of most of that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec

Round = Callable[[], float]
"""Runs a contender once and returns the seconds that count."""

BUDGET = 600.0
"""Seconds after which a comparison starts no further round."""


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(
    what: str,
    contenders: Mapping[str, Round],
    runs: int,
    *,
    warm_ups: int = 1,
    budget: float = BUDGET,
) -> dict[str, list[float]]:
    """Run every contender once per round; who goes first changes from round to round.

    Args:
        what: for the progress bar.
        contenders: by name.
        runs: rounds that count.
        warm_ups: rounds before them that do not.
        budget: seconds after which no further round is started.

    Returns:
        Per contender the seconds of each round that counts, one at least.
    """
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    with progress(what, (warm_ups + runs) * len(names), unit="run") as bar:
        started = time.perf_counter()
        for number in range(-warm_ups, runs):
            if number == 0:
                started = time.perf_counter()
            elif number > 0 and time.perf_counter() - started > budget:
                break
            first = number % len(names)
            for name in names[first:] + names[:first]:
                seconds = contenders[name]()
                if number >= 0:
                    taken[name].append(seconds)
                bar.update(1)
    return taken


def rounds(
    what: str, contenders: Mapping[str, Callable[[], list[float]]], runs: int
) -> dict[str, list[list[float]]]:
    """Run contenders that time many things per round, as `interleaved` does.

    Args:
        what: for the progress bar.
        contenders: by name; each runs a round and returns the seconds of everything in it.
        runs: rounds that count.

    Returns:
        Per contender the seconds of each round that counts, thing by thing.
    """
    kept: dict[str, list[list[float]]] = {name: [] for name in contenders}

    def run(name: str) -> float:
        kept[name].append(contenders[name]())
        return sum(kept[name][-1])

    taken = interleaved(what, {name: partial(run, name) for name in contenders}, runs)
    return {name: kept[name][-len(one) :] for name, one in taken.items()}


def missing(*modules: str) -> list[str]:
    """Return which of these modules are not installed."""
    return [name for name in modules if find_spec(name) is None]
