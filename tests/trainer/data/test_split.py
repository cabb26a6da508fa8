"""Splits: shares per class, whole groups, equal seeds, and what cannot be split."""

import numpy as np
import pytest
from numpy.typing import NDArray

from geosim.trainer.data.split import (
    overlap_free_split,
    stratified_folds,
    stratified_sample,
    stratified_split,
)
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


def test_a_stratified_sample_has_every_class_in_proportion() -> None:
    labels = np.array([0] * 60 + [1] * 37 + [2] * 2 + [-1], dtype=np.int32)
    rows = stratified_sample(labels, 20, seed=3)
    assert np.bincount(labels[rows] + 1).tolist() == [1, 12, 7, 1]
    assert rows.tolist() == sorted({*rows.tolist()})
    assert rows.tolist() == stratified_sample(labels, 20, seed=3).tolist()
    assert rows.tolist() != stratified_sample(labels, 20, seed=4).tolist()
    assert stratified_sample(labels, 500, seed=3).tolist() == list(range(100))
    assert len(stratified_sample(np.arange(9, dtype=np.int32), 2, seed=0)) == 9


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


def test_folds_hold_equal_counts_of_each_class() -> None:
    labels = np.random.default_rng(0).permutation(
        np.repeat(np.arange(3, dtype=np.int32), [5, 21, 40])
    )
    fold = stratified_folds(labels, np.arange(66), 5, seed=0)
    for label in range(3):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(fold)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_torn_by_folds_that_stay_even(seed: int) -> None:
    labels, groups = crowded()
    fold = stratified_folds(labels, groups, 5, seed)
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    for label in range(6):
        assert np.bincount(fold[labels == label]) == pytest.approx(np.full(5, 100), abs=12)


def test_folds_depend_on_the_seed_alone() -> None:
    labels, groups = crowded()
    folds = [stratified_folds(labels, groups, 5, seed).tolist() for seed in (1, 1, 2)]
    assert folds[0] == folds[1] != folds[2]


def test_a_class_of_uneven_groups_is_in_every_fold() -> None:
    labels = np.repeat(np.arange(2, dtype=np.int32), [10, 300])
    groups = np.array([0] * 8 + [1, 2] + list(range(3, 303)))
    fold = stratified_folds(labels, groups, 3, seed=0)
    assert sorted(np.bincount(fold[:10])) == [1, 1, 8]
    assert sorted(np.bincount(fold[10:])) == [100, 100, 100]


def test_groups_across_classes_stay_whole_in_folds() -> None:
    labels = np.tile(np.arange(2, dtype=np.int32), 20)
    fold = stratified_folds(labels, np.arange(40) // 4, 5, seed=0)
    for label in range(2):
        assert np.bincount(fold[labels == label]).tolist() == [4] * 5
    assert (fold.reshape(-1, 4) == fold[::4, None]).all()


@pytest.mark.parametrize(
    ("sizes", "groups", "message"),
    [
        ([3, 9], range(12), "class tuff has 3 images, too few for 5 folds .*; use 3 folds, or add"),
        ([1, 9], range(10), "class tuff has 1 image, too few for 5 folds that hold it each; add"),
        (
            [9, 9],
            [0, 0, 0, 0, 1, 1, 1, 2, 3, *range(4, 13)],
            "class tuff has 9 images in 4 groups that share pixels, .* or split at random",
        ),
        ([9, 9], [0] * 9 + list(range(1, 10)), "9 images in 1 group that share pixels, .* folds"),
    ],
)
def test_too_few_images_for_the_folds(sizes: list[int], groups: list[int], message: str) -> None:
    labels = np.repeat(np.arange(2, dtype=np.int32), sizes)
    with pytest.raises(DatasetError, match=message):
        stratified_folds(labels, np.array(groups), 5, seed=0, names=("tuff", "slate"))


def test_more_folds_than_memory_holds_are_refused() -> None:
    with pytest.raises(DatasetError, match="too few for 1,000,000,000,000 folds"):
        stratified_folds(np.zeros(9, np.int32), np.arange(9), 10**12, seed=0)


def test_one_fold_is_none() -> None:
    with pytest.raises(ValueError, match="received 1"):
        stratified_folds(np.zeros(9, np.int32), np.arange(9), 1, seed=0)
