"""The report's part on how far the explanation of a search can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from geosim.search.evaluation.left_out import left_out_text
from geosim.search.evaluation.reliability import pooled, reliability_plot, reliability_text
from geosim.search.evaluation.runs import Run


def trust_figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the calibration and the novelty of a recipe's runs; None where one has none."""
    left_out = [run.facts.get("left_out") for run in runs]
    known = [one for one in left_out if one]
    novelty = None
    if known and len({one["left_out_of"] for one in known}) == 1 and len(known) == len(runs):
        novelty = {
            "left_out_of": known[0]["left_out_of"],
            "auroc": float(np.mean([one["auroc"] for one in known])),
            "per_class": np.mean([one["per_class"] for one in known], axis=0).tolist(),
        }
    return {"calibration": pooled(runs), "novelty": novelty}


def trust_section(figures: dict[str, Any], title: str, folder: Path, name: str) -> str:
    """Draw the reliability diagram and return HTML; empty without figures."""
    calibration, novelty = figures["calibration"], figures["novelty"]
    parts = []
    if calibration is not None:
        reliability_plot(calibration, folder / f"{name}-reliability.png")
        parts.append(f"<p>{escape(reliability_text(calibration))}</p>")
        parts.append(
            f'<img src="{name}-reliability.png" alt="Reliability diagram of {escape(title)}">'
        )
    if novelty is not None:
        parts.append(f"<p>{escape(left_out_text(novelty))}</p>")
    return "<h3>How far to trust it</h3>\n" + "\n".join(parts) if parts else ""
