"""Training inputs: a whole data set as one array, of features from the cache or of pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.spec import Pretrained
from geosim.trainer.data.dataset import Dataset, HashedRecord, Rejected, hash_dataset, read_records
from geosim.trainer.data.images import Prepared, prepare
from geosim.trainer.data.places import FOLDER
from geosim.trainer.data.sources import Source
from geosim.trainer.decoding.account import PLAIN, Decoding, count_scaled
from geosim.trainer.decoding.encoded import Encoded
from geosim.trainer.disk import explain
from geosim.trainer.errors import DatasetError, ImageError, ModelError
from geosim.trainer.feature_cache import half
from geosim.trainer.features import FeatureExtractor
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.progress import progress_bar
from geosim.trainer.recipes.registry import recipe_of
from geosim.trainer.recipes.spec import Recipe
from geosim.trainer.rows import Rows, give_back, new_array
from geosim.trainer.runtime.backbone import Backbone
from geosim.trainer.runtime.choice import choose_runtime
from geosim.trainer.working import Working

TILE_SIZES = (16, 64)
"""Smallest and largest input side, in pixels, of a backbone trained end to end."""

SIZE_SAMPLE = 256
"""Images sampled to find the size of a data set's tiles."""

MOVED_AT_ONCE = 1024
"""Rows moved together to fill the places of images that were rejected."""

DEFAULT_OPTIONS = TrainOptions()


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A data set, read for training."""

    items: tuple[HashedRecord, ...]  # that can be decoded, sorted by stored path
    classes: tuple[str, ...]  # sorted; two or more, or none
    labels: NDArray[np.int32]  # (n,), indices into `classes`; -1 without a class
    array: NDArray[Any]  # pixels or features, as the recipe reads them, in a file if large
    recipe: Recipe
    pretrained: Pretrained  # with its final input size
    decodings: tuple[Decoding, ...]  # (n,), how the images were decoded
    rejected: tuple[Rejected, ...]
    extractor: FeatureExtractor | None  # computed the features; None for pixels
    backbone: Callable[[], Backbone]  # loads the frozen backbone on the first call
    class_from: str = FOLDER  # the rule for classes (`trainer/data/places.py`)
    folder: Path | None = None  # of what is too large for the memory; None for temporary files'

    def rows(self, rows: NDArray[np.intp] | None = None) -> Rows:
        """Return some rows of the array, sorted, or all."""
        every = np.arange(len(self.array)) if rows is None else rows
        return Rows(self.array, every, self.folder)

    def listing(self) -> Iterator[bytes]:
        """Yield stored path, content hash and decoder of every image, one line each.

        Also the class, where it is not that of the path.
        """
        for item, decoding in zip(self.items, self.decodings, strict=True):
            decoder = "" if decoding.decoder == PLAIN else f"\0{decoding.decoder}"
            label = "" if self.class_from == FOLDER else f"\0class {item.record.label}"
            yield f"{item.record.path}\0{item.sha256}{decoder}{label}\n".encode()

    @property
    def scaled(self) -> dict[str, int]:
        """Number of images that were scaled to 8 bits, by what their samples were."""
        return count_scaled(self.decodings)

    @property
    def computed(self) -> int:
        """Number of images that went through the backbone; the others were cached."""
        return 0 if self.extractor is None else self.extractor.computed


def check_classes(dataset: Dataset, recipe: Recipe) -> None:
    """Raise `DatasetError` for fewer classes than a recipe needs, before any image is read."""
    if len(dataset.classes) < 2 and not recipe.takes_unlabelled:
        found = f"one class only ({dataset.classes[0]})" if dataset.classes else "no class folders"
        raise DatasetError(
            f"{dataset.location} holds {found}, and recipe {recipe.name} learns from classes; it "
            "needs at least two class folders side by side, or take --recipe photograph"
        )


def read_inputs(
    dataset: Dataset,
    pretrained: Pretrained,
    working: Working,
    options: TrainOptions = DEFAULT_OPTIONS,
    *,
    rehash: bool = False,
) -> Inputs:
    """Read a whole data set as the recipe of the options and the backbone takes it.

    Images without a class are left out, unless the recipe takes them. For one that does, a single
    class is none. ``rehash`` reads the files that seem unchanged as well.

    Raises:
        DatasetError: fewer than two classes have an image that can be decoded, or no image can.
    """
    recipe, backbone = recipe_of(pretrained.spec, options), cache(pretrained.load)
    check_classes(dataset, recipe)
    hashed, unreadable = hash_dataset(
        dataset, working.hashes, rehash=rehash, partial=dataset.sampled_from > 0
    )
    hashed = [one for one in hashed if one.record.label or recipe.takes_unlabelled]
    rejected = [*dataset.rejected, *unreadable]
    extractor: FeatureExtractor | None = None
    array: NDArray[Any]
    if recipe.reads_pixels:
        size = tile_size(dataset.source, hashed)
        pretrained = replace(pretrained, spec=replace(pretrained.spec, input_size=size))
        array, decoded = _pixels(dataset.source, hashed, size, rejected)
    else:
        spec = pretrained.spec

        def load() -> Backbone:
            return choose_runtime(backbone(), spec.precision)

        views = recipe.training_views(spec, options, len(hashed))
        extractor = FeatureExtractor(spec, pretrained.fingerprint, load, working.features, views)
        shape: tuple[int, ...] = (len(hashed), spec.feature_width)
        if recipe.several_views:
            shape = (len(hashed), views, spec.feature_width)
        dtype = np.float16 if recipe.several_views else np.float32
        try:
            array = new_array(shape, dtype, working.root)
        except OSError as error:
            raise ModelError(
                f"the features of {len(hashed):,} pictures need a file in {working.root}: "
                f"{explain(error, working.root)}"
            ) from error
        decoded = _features(dataset.source, hashed, extractor, rejected, array)
    done = np.array([one is not None for one in decoded], dtype=np.bool_)
    array = _only(array, done)
    items = tuple(item for item, good in zip(hashed, done, strict=True) if good)
    decodings = tuple(one for one in decoded if one is not None)
    names = [item.record.label for item in items]
    classes = tuple(sorted({*names} - {""}))
    if not items or (len(classes) < 2 and not recipe.takes_unlabelled):
        what = "no image" if recipe.takes_unlabelled else "images of fewer than two classes"
        raise DatasetError(
            f"{dataset.location}: {what} can be decoded "
            f"({len(rejected)} rejected, the first: {rejected[0].path}: {rejected[0].reason})"
        )
    classes = classes if len(classes) > 1 else ()
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(name, -1) for name in names], dtype=np.int32)
    return Inputs(
        items=items,
        classes=classes,
        labels=labels,
        array=array,
        recipe=recipe,
        pretrained=pretrained,
        decodings=decodings,
        rejected=tuple(rejected),
        extractor=extractor,
        backbone=backbone,
        class_from=dataset.place.class_from,
        folder=working.root,
    )


def _only(array: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the rows of an array that are good, moved to its start."""
    rows = np.flatnonzero(good)
    if len(rows) < len(array):
        for start in range(0, len(rows), MOVED_AT_ONCE):
            part = rows[start : start + MOVED_AT_ONCE]
            array[start : start + len(part)] = array[part]
    return array[: len(rows)]


def tile_size(source: Source, hashed: Sequence[HashedRecord]) -> int:
    """Return the input side, in pixels, for a backbone that is trained end to end.

    The median of the shorter sides of up to `SIZE_SAMPLE` images, spread over the set, rounded to a
    multiple of 4 and clipped to `TILE_SIZES`.
    """
    step = -(-len(hashed) // SIZE_SAMPLE)
    sides = []
    for item in hashed[::step]:
        try:
            prepared = prepare(source.read(item.record), TILE_SIZES[0])
        except ImageError:
            continue
        sides.append(min(prepared.width, prepared.height))
    median = round(float(np.median(sides)) / 4) * 4 if sides else TILE_SIZES[0]
    return int(np.clip(median, *TILE_SIZES))


def _pixels(
    source: Source, hashed: Sequence[HashedRecord], size: int, rejected: list[Rejected]
) -> tuple[NDArray[np.uint8], list[Decoding | None]]:
    """Return all images resized to ``size``, and how each was decoded; None if it was not."""
    pixels = np.zeros((len(hashed), size, size, 3), dtype=np.uint8)
    decoded: list[Decoding | None] = [None] * len(hashed)
    records = [item.record for item in hashed]

    def decode(data: Encoded) -> Prepared:
        return prepare(data, size)

    with progress_bar("decoding", len(hashed)) as bar:
        outcomes = read_records(source, records, decode, threads=None, progress=bar.update)
        for row, outcome in enumerate(outcomes):
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            else:
                pixels[row] = outcome.pixels
                decoded[row] = outcome.decoding
    return pixels, decoded


def _features(
    source: Source,
    hashed: Sequence[HashedRecord],
    extractor: FeatureExtractor,
    rejected: list[Rejected],
    array: NDArray[Any],
) -> list[Decoding | None]:
    """Write all images' features to an array; return how each was decoded, None if it was not."""
    rows = {item.record.path: row for row, item in enumerate(hashed)}
    decoded: list[Decoding | None] = [None] * len(hashed)
    given = 0
    with progress_bar("features", len(hashed)) as bar:

        def reject(one: Rejected) -> None:
            rejected.append(one)
            bar.update(1)

        for batch in extractor.extract(source, hashed, reject=reject):
            for extracted in batch:
                row = rows[extracted.item.record.path]
                vector = extracted.features.vector.reshape(array.shape[1:])
                array[row] = half(vector) if array.dtype == np.float16 else vector
                decoded[row] = extracted.features.decoding
            given += len(batch)
            if given >= MOVED_AT_ONCE:
                give_back(array)
                given = 0
            bar.update(len(batch))
    return decoded
