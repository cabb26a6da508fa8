"""What a study finds in the decoded pictures: shared pixels and colours, kept in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geosim.search.evaluation import histogram
from geosim.search.evaluation.histogram import colour_histogram
from geosim.search.evaluation.runs import images_digest
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.errors import DatasetError
from geosim.trainer.evaluation.overlap import (
    Overlaps,
    Picture,
    find_overlaps,
    read_pictures,
    reduce_picture,
)
from geosim.trainer.files import read_arrays, replacing
from geosim.trainer.inputs import Inputs
from geosim.trainer.progress import progress_bar
from geosim.trainer.recipe import changed_recipe


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What the pictures of a data set show, whatever is learned from them."""

    overlaps: Overlaps
    histograms: NDArray[np.uint32]  # (n, bins), of `colour_histogram`


def read_or_find_contents(dataset: Dataset, inputs: Inputs, folder: Path) -> Contents:
    """Return the contents kept in a report folder; find and keep what is not there.

    The pictures are decoded once for all that is missing.

    Raises:
        DatasetError: a picture changed meanwhile.
    """
    digest = images_digest(inputs)[:16]
    of_overlaps = folder / f"overlaps-{digest}{changed_recipe(find_overlaps.__module__)}.npz"
    of_colours = folder / f"colours-{digest}{changed_recipe(histogram.__name__)}.npz"
    overlaps, kept = _read_overlaps(of_overlaps), read_arrays(of_colours, "histograms")
    histograms: NDArray[np.uint32] | None = None if kept is None else kept[0]
    if overlaps is not None and histograms is not None:
        return Contents(overlaps, histograms)

    def reduce(image: Image.Image) -> tuple[Picture | None, NDArray[np.uint32] | None]:
        picture = reduce_picture(image) if overlaps is None else None
        return picture, colour_histogram(image) if histograms is None else None

    items = inputs.items
    with progress_bar("decoding", len(items)) as bar:
        _, found, gone = read_pictures(dataset.source, items, reduce, progress=bar.update)
    if gone:
        raise DatasetError(
            f"{gone[0].path} changed while it was read; run again, with --rehash if that repeats"
        )
    if histograms is None:
        histograms = np.stack([colours for _, colours in found if colours is not None])
        with replacing(of_colours) as temporary:
            np.savez_compressed(temporary, histograms=histograms)
    if overlaps is None:
        overlaps = _find_overlaps(inputs, [one for one, _ in found if one is not None])
        shifts = np.array(overlaps.shifts, dtype=np.int64).reshape(-1, 2)
        with replacing(of_overlaps) as temporary:
            np.savez_compressed(
                temporary, groups=overlaps.groups, pairs=overlaps.pairs, shifts=shifts
            )
    return Contents(overlaps, histograms)


def _find_overlaps(inputs: Inputs, pictures: list[Picture]) -> Overlaps:
    labels = [item.record.label for item in inputs.items]
    hashes = [item.sha256 for item in inputs.items]
    with progress_bar("overlaps", len(pictures)) as bar:
        return find_overlaps(pictures, labels, hashes, progress=bar.update)


def _read_overlaps(path: Path) -> Overlaps | None:
    """Return the overlaps kept at ``path``; None where they are missing or damaged."""
    stored = read_arrays(path, "groups", "pairs", "shifts")
    if stored is None or stored[2].shape[1:] != (2,):
        return None
    groups, pairs, shifts = stored
    return Overlaps(groups, pairs, tuple((int(down), int(right)) for down, right in shifts))
