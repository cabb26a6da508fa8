"""A training on synthetic features: seconds and memory by the number of pictures."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geosim.trainer.backbones.registry import choose
from geosim.trainer.data.dataset import Dataset
from geosim.trainer.feature_cache import FeatureCache, Features
from geosim.trainer.heads.fit import TrainOptions
from geosim.trainer.inputs import read_inputs
from geosim.trainer.train import fit_model, fit_votes
from geosim.trainer.working import Working
from tests.benches import inputs, synthetic
from tests.benches.common import Row, Settings, in_process, resources, timed

ABOUT = (
    "A training on 1,280 synthetic features of each picture, in a process of its own, with the "
    "default epochs: the features read from the cache, the fit of the head, and the fit of the "
    "certainty. Seconds of a clock and of the processor, and the peak of the resident memory in GB "
    "(10^9 bytes) up to the end of each step, pages of mapped files included. One run each."
)
SIZES = (10_000, 100_000, 1_000_000)
CLASSES = 20
BLOCK = 2048


def measure(settings: Settings, scratch: Path) -> list[Row]:
    """Train at every size."""
    rows = []
    for size in settings.sizes(SIZES):
        folder = scratch / str(size)
        in_process(fill_cache, folder, size)
        for step, figures in in_process(train, folder, size).items():
            for unit, value in zip(("s", "s of a core", "GB at most"), figures, strict=True):
                rows.append(Row(f"{size:,} pictures", step, unit, [value]))
        shutil.rmtree(folder)
    return rows


def dataset(size: int) -> Dataset:
    """Return a data set of ``size`` pictures of `CLASSES` classes."""
    return synthetic.dataset(size, CLASSES)


def fill_cache(folder: Path, size: int) -> None:
    """Put features of all pictures of `dataset` into the cache: a point per class, and noise."""
    pretrained = choose(inputs.BACKBONE)[0]
    with closing(
        FeatureCache(Working(folder).features, pretrained.spec, pretrained.fingerprint)
    ) as cached:
        for paths, block in _features(size, pretrained.spec.feature_width):
            digests = (hashlib.sha256(path.encode()).hexdigest() for path in paths)
            found = (Features(vector, synthetic.SIDE, synthetic.SIDE) for vector in block)
            cached.put(dict(zip(digests, found, strict=True)))


def _features(size: int, width: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    random = np.random.default_rng(0)
    centres = random.random((CLASSES, width), np.float32)
    for start in range(0, size, BLOCK):
        numbers = range(start, min(start + BLOCK, size))
        noise = 2 * random.standard_normal((len(numbers), width), np.float32)
        paths = [synthetic.path(number, CLASSES) for number in numbers]
        yield paths, centres[np.array(numbers) % CLASSES] + noise


def train(folder: Path, size: int) -> dict[str, tuple[float, float, float]]:
    """Return wall seconds, processor seconds and peak memory of each step of a training."""
    found: dict[str, tuple[float, float, float]] = {}
    pretrained, options = choose(inputs.BACKBONE)[0], TrainOptions()
    state: list[object] = []

    def step(name: str, work: object) -> None:
        before = resources()
        seconds = timed(lambda: state.append(work()))  # type: ignore[operator]
        after = resources()
        found[name] = (seconds, after[0] - before[0], after[1])

    step("features", lambda: read_inputs(dataset(size), pretrained, Working(folder), options))
    read, every = state[0], np.arange(size)
    step("fit", lambda: fit_model(read, every, options))
    step("certainty", lambda: fit_votes(read, every, options, state[1]))
    return found
