"""An ingest of photographs of 12 megapixels, and what decoding and embedding them takes alone."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from geosim.trainer.data.views import prepare_views
from geosim.trainer.model import load_model
from geosim.trainer.sample.textures import SAMPLE_CLASSES, draw
from tests.benches import common, inputs

ABOUT = (
    "`geosim ingest` of JPEG photographs of 4,000 x 3,000 pixels, 3 MB each, with nothing cached: "
    "milliseconds of the processor that one more takes, from whole processes on all and on a fifth "
    "of them. Alone, in one process: the bytes to the pixels that the network takes, the network, "
    "and libjpeg at the scale that geosim decodes at."
)
PICTURES = 100
SIZE = (4000, 3000)
NOISE = 6  # standard deviation, in grey levels, which gives the files the size of a camera's


def measure(settings: common.Settings, scratch: Path) -> list[common.Row]:
    """Time ingests and their steps."""
    source, size = inputs.working_folder(settings), settings.limit(PICTURES)
    few = size // 5
    every, some = scratch / "every" / "photographs", scratch / "some" / "photographs"
    write_pictures(every, size)
    shutil.copytree(every, some, ignore=lambda _, names: [n for n in names if _number(n) >= few])
    working = inputs.copied(source, scratch / "working", "model")

    def ingest(data: Path) -> float:
        for name in ("qdrant", "features", "hashes"):
            shutil.rmtree(working / name, ignore_errors=True)
        return common.used(*common.GEOSIM, "ingest", data, "--working", working)[1]

    seconds: dict[str, list[float]] = {}
    for _ in range(settings.runs):
        whole = (ingest(every) - ingest(some)) / (size - few)
        seconds.setdefault(common.OURS, []).append(whole)
        for name, one in common.in_process(alone, every, source).items():
            seconds.setdefault(name, []).append(one)
    return common.milliseconds(f"{size:,} photographs of 12 megapixels, each", seconds)


def _number(name: str) -> int:
    return int(Path(name).stem) if name.endswith(".jpg") else -1


def write_pictures(folder: Path, count: int) -> None:
    """Write generated pictures, enlarged, with noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        label = SAMPLE_CLASSES[number % len(SAMPLE_CLASSES)]
        image = Image.fromarray(draw(label, number, size=400)).resize(SIZE)
        noise = random.normal(0, NOISE, (SIZE[1], SIZE[0], 1))
        pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / label / f"{number}.jpg", quality=90)


def alone(folder: Path, working: Path) -> dict[str, float]:
    """Return the seconds of the processor that each step takes for one picture."""
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    model = load_model(working / "model")
    extractor, side = model.extractor(working / "features"), model.spec.input_size
    started = common.resources()[0]
    prepared = [prepare_views(data, side, extractor.views) for data in files]
    decoded = common.resources()[0]
    _ = extractor.backbone
    loaded = common.resources()[0]
    extractor.run(prepared)
    embedded = common.resources()[0]
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (2 * side, 2 * side))
            image.load()
    read = common.resources()[0]
    return {
        "decoding and embedding": (decoded - started + embedded - loaded) / len(files),
        "decoding": (decoded - started) / len(files),
        "libjpeg alone": (read - embedded) / len(files),
    }
