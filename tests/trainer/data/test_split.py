"""Splits: shares per class, whole groups, equal seeds, and what cannot be split."""

import numpy as np
import pytest
from numpy.typing import NDArray

from geosim.trainer.data.split import overlap_free_split, stratified_split
from geosim.trainer.errors import DatasetError


def crowded(seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Six classes of 500 images, nearly all in groups of 1 to 60, shuffled."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(6, dtype=np.int32), 500)
    groups = np.empty(3000, dtype=np.int64)
    number = row = 0
    while row < 3000:
        size = min(int(generator.integers(1, 61)), 500 - row % 500)
        groups[row : row + size] = number
        number, row = number + 1, row + size
    order = generator.permutation(3000)
    return labels[order], groups[order]


def test_a_stratified_split_holds_out_the_share_of_each_class() -> None:
    labels = np.array([0] * 10 + [1] * 20 + [2], dtype=np.int32)
    kept, held = stratified_split(labels, 0.2, seed=3)
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 4, 0]
    assert sorted([*kept, *held]) == list(range(31))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    labels = np.zeros(4, dtype=np.int32)
    with pytest.raises(ValueError, match="received"):
        stratified_split(labels, share, seed=0)
    with pytest.raises(ValueError, match="received"):
        overlap_free_split(labels, np.arange(4), share, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_torn_and_every_class_reaches_its_share(seed: int) -> None:
    labels, groups = crowded()
    kept, held = overlap_free_split(labels, groups, 0.2, seed)
    assert not set(groups[kept]) & set(groups[held])
    assert sorted([*kept, *held]) == list(range(3000))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    assert np.bincount(labels[held]) == pytest.approx(np.full(6, 100), abs=12)  # groups of 30


def test_equal_seeds_give_equal_splits_and_others_do_not() -> None:
    labels, groups = crowded()
    held = [overlap_free_split(labels, groups, 0.2, seed)[1].tolist() for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_images_on_their_own_split_like_a_stratified_split() -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), [10, 21, 2])
    held = overlap_free_split(labels, np.arange(33), 0.2, seed=0)[1]
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 4, 0]


def test_one_giant_group_stays_on_one_side() -> None:
    labels = np.zeros(100, dtype=np.int32)
    groups = np.maximum(np.arange(100) - 89, 0)  # 90 images, then ten on their own
    held = overlap_free_split(labels, groups, 0.2, seed=0)[1]
    assert held.tolist() == list(range(90, 100))


def test_two_large_groups_are_parted_although_the_share_is_missed() -> None:
    labels = np.array([0] * 10 + [1] * 10, dtype=np.int32)
    groups = np.array([0] * 5 + [1] * 5 + list(range(2, 12)))
    kept, held = overlap_free_split(labels, groups, 0.2, seed=0)
    assert np.bincount(labels[held]).tolist() == [5, 2]
    assert np.bincount(labels[kept]).tolist() == [5, 8]


def test_a_group_across_classes_stays_whole() -> None:
    labels = np.tile(np.arange(2, dtype=np.int32), 20)
    groups = np.arange(40) // 4
    kept, held = overlap_free_split(labels, groups, 0.2, seed=0)
    assert not set(groups[kept]) & set(groups[held])
    assert np.bincount(labels[held]).tolist() == [4, 4]


def test_a_class_in_one_group_cannot_be_split() -> None:
    labels = np.array([0] * 10 + [1] * 10, dtype=np.int32)
    groups = np.array([0] * 10 + list(range(1, 11)))
    with pytest.raises(DatasetError, match=r"class 0: its 10 images .* split at random"):
        overlap_free_split(labels, groups, 0.2, seed=0)


def test_no_share_holds_nothing_out() -> None:
    labels, groups = crowded()
    kept, held = overlap_free_split(labels, groups, 0.0, seed=0)
    assert len(kept) == 3000
    assert len(held) == 0
