"""The picture of how costs grow, on logarithmic scales."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geosim.trainer.files import replacing
from tests.benches.results import Row

FITTED_FROM = 10_000
"""Least size that counts for the exponent: below, starting costs more than the work."""


def growth_plot(rows: Sequence[Row], path: Path) -> None:
    """Draw median, least and largest seconds over sizes, a line per row name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot(xlabel="vectors", ylabel="seconds", title="How the costs grow")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, name in enumerate(dict.fromkeys(row.name for row in rows)):
        line = sorted((row for row in rows if row.name == name), key=lambda row: row.size or 0)
        sizes, medians = [row.size or 0 for row in line], [row.median for row in line]
        below = [row.median - min(row.values) for row in line]
        above = [max(row.values) - row.median for row in line]
        label, colour = name + _exponent(sizes, medians), f"C{number}"
        axes.errorbar(
            sizes, medians, yerr=[below, above], marker="o", capsize=3, label=label, color=colour
        )
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _exponent(sizes: Sequence[int], seconds: Sequence[float]) -> str:
    """Return the power of n that the larger sizes follow, in words; empty where there is none."""
    large = [(n, s) for n, s in zip(sizes, seconds, strict=True) if n >= FITTED_FROM]
    if len(large) < 2:
        return ""
    logarithms = np.log(large)
    slope = np.polyfit(logarithms[:, 0], logarithms[:, 1], 1)[0]
    return f", as n^{slope:.2f}"
