"""A sample of a data set to learn from, where all of it would take too long."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geosim.trainer.data.dataset import Dataset
from geosim.trainer.data.split import stratified_sample


def subset_of(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """Return a data set with ``count`` of the pictures, as many of each class as its share.

    The same seed draws the same ones. It is the data set itself for a count of None, or one that
    is not less than its pictures.
    """
    if count is None or count >= len(dataset.records):
        return dataset
    _, labels = np.unique([record.label for record in dataset.records], return_inverse=True)
    rows = stratified_sample(labels.astype(np.int32), count, seed)
    records = tuple(dataset.records[row] for row in rows.tolist())
    return replace(dataset, records=records, sampled_from=len(dataset.records))
