"""The detector's figure against numbers worked out by hand."""

import numpy as np
import pytest

from geosim.trainer.evaluation.novelty import auroc


@pytest.mark.parametrize(
    ("foreign", "own", "expected"),
    [
        ([0.2, 0.6], [0.6, 0.9], 3.5 / 4),
        ([0.1, 0.2], [0.3], 1.0),
        ([0.5], [0.3, 0.1], 0.0),
        ([0.5, 0.5], [0.5], 0.5),
        ([0.4], [0.3, 0.4, 0.5, 0.6], 2.5 / 4),
    ],
)
def test_pairs_in_order(foreign: list[float], own: list[float], expected: float) -> None:
    assert auroc(np.array(foreign), np.array(own)) == pytest.approx(expected)


def test_without_pairs_there_is_no_figure() -> None:
    assert np.isnan(auroc(np.empty(0), np.array([0.5])))
