"""Stratified splits, worked by hand."""

import numpy as np
import pytest

from trainer.split import stratified_split


def labels(*counts: int) -> np.ndarray:
    """``counts[i]`` times class i, interleaved by a fixed shuffle."""
    row = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return np.random.default_rng(0).permutation(row)


@pytest.mark.parametrize(
    ("counts", "share", "held_per_class"),
    [
        ((10, 20, 5), 0.2, [2, 4, 1]),
        ((10, 20, 5), 0.0, [0, 0, 0]),
        ((4, 4), 0.1, [0, 0]),  # 0.4 of an image rounds to none
        ((6, 6), 0.1, [1, 1]),  # 0.6 rounds to one
        ((3, 1), 0.99, [2, 0]),  # never a whole class
        ((1, 2, 3), 0.5, [0, 1, 2]),  # 0.5 and 1.5 round to even: 0 and 2
    ],
)
def test_every_class_gives_the_same_share(
    counts: tuple[int, ...], share: float, held_per_class: list[int]
) -> None:
    of = labels(*counts)
    kept, held = stratified_split(of, share, seed=3)
    assert np.bincount(of[held], minlength=len(counts)).tolist() == held_per_class
    together = np.concatenate([kept, held])
    assert sorted(together.tolist()) == list(range(len(of)))
    for rows in (kept, held):
        assert (np.diff(rows) > 0).all()


def test_a_seed_repeats_its_split_and_another_gives_another() -> None:
    of = labels(50, 50)
    first, again, other = (stratified_split(of, 0.3, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_labels_are_not_changed() -> None:
    of = labels(5, 5)
    before = of.copy()
    stratified_split(of, 0.4, seed=0)
    np.testing.assert_array_equal(of, before)


def test_nothing_splits_into_nothing() -> None:
    kept, held = stratified_split(np.array([], np.int32), 0.5, seed=0)
    assert len(kept) == len(held) == 0


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to below 1"):
        stratified_split(labels(2, 2), share, seed=0)
